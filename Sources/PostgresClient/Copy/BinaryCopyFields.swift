package import Foundation

/// Reads the fields of consecutive rows in the binary format of COPY.
package struct BinaryCopyFields {
    private let bytes: UnsafeRawBufferPointer
    private var offset = 0

    /// - Parameter bytes: Rows without the stream's header and trailer. The bytes must stay valid while they are read.
    package init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    /// Whether all rows were read.
    package var isAtEnd: Bool { offset == bytes.count }

    /// Begins the next row.
    ///
    /// - Throws: ``MalformedCopy`` when the row does not have `count` fields.
    package mutating func begin(fields count: Int) throws {
        guard Int(try integer(Int16.self)) == count else { throw MalformedCopy() }
    }

    /// The next field; nil for NULL. The returned pointer refers to the rows' bytes, and is valid as long as they are.
    package mutating func field() throws -> UnsafeRawBufferPointer? {
        let length = Int(try integer(Int32.self))
        guard length >= 0 else { return nil }
        guard bytes.count - offset >= length else { throw MalformedCopy() }
        defer { offset += length }
        return UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + length)])
    }

    /// The next field, a `uuid`.
    package mutating func uuid() throws -> UUID {
        guard let field = try field(), field.count == 16 else { throw MalformedCopy() }
        return UUID(uuid: field.loadUnaligned(as: uuid_t.self))
    }

    private mutating func integer<Integer: FixedWidthInteger>(_ type: Integer.Type) throws -> Integer {
        let size = MemoryLayout<Integer>.size
        guard bytes.count - offset >= size else { throw MalformedCopy() }
        defer { offset += size }
        return Integer(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: type))
    }
}
