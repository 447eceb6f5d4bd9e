import CellCrypto
package import Foundation

/// Rows of a cell table in PostgreSQL's binary COPY format (PostgreSQL, COPY, "Binary Format"). It has a header and a trailer.
/// Between them each row has a field count, and each field its length and bytes.
package enum CellCopy {
    /// `PGCOPY\n\377\r\n\0`, no flags, no header extension.
    package static let header: [UInt8] = Array("PGCOPY\n".utf8) + [0xFF, 0x0D, 0x0A, 0] + [UInt8](repeating: 0, count: 8)
    package static let trailer: [UInt8] = [0xFF, 0xFF]

    /// Appends one row of a generation: its key version, the record's id, and its cells.
    package static func append(_ cells: [[UInt8]?], of record: UUID, keyVersion: Int, to output: inout [UInt8]) {
        output.append(bigEndian: Int16(cells.count + 2))
        output.append(bigEndian: Int32(4))
        output.append(bigEndian: Int32(keyVersion))
        output.append(bigEndian: Int32(16))
        withUnsafeBytes(of: record.uuid) { output.append(contentsOf: $0) }
        for cell in cells {
            output.append(bigEndian: cell.map { Int32($0.count) } ?? -1)
            output += cell ?? []
        }
    }

    /// Removes the header and the trailer from the messages that libpq returns.
    struct Messages {
        private var isFirst = true

        /// The row in a message; nil for the trailer.
        ///
        /// - Throws: ``MalformedCopy`` when the message does not have the format.
        mutating func row(in message: UnsafeRawBufferPointer) throws -> UnsafeRawBufferPointer? {
            var offset = 0
            if isFirst {
                guard message.count >= CellCopy.header.count else { throw MalformedCopy() }
                let flagsEnd = CellCopy.header.count
                let extensionLength = Int(UInt32(bigEndian: message.loadUnaligned(fromByteOffset: flagsEnd - 4, as: UInt32.self)))
                offset = flagsEnd + extensionLength
                isFirst = false
            }
            guard message.count >= offset + 2 else { throw MalformedCopy() }
            let count = Int16(bigEndian: message.loadUnaligned(fromByteOffset: offset, as: Int16.self))
            return count == -1 ? nil : UnsafeRawBufferPointer(rebasing: message[offset...])
        }
    }

    /// Reads the fields of consecutive rows.
    struct Fields {
        private let bytes: UnsafeRawBufferPointer
        private var offset = 0

        init(_ bytes: UnsafeRawBufferPointer) {
            self.bytes = bytes
        }

        var isAtEnd: Bool { offset == bytes.count }

        /// The number of fields of the next row.
        mutating func rowLength() throws -> Int { Int(try integer(Int16.self)) }

        /// The next field; nil for NULL. It is valid as long as the bytes are.
        mutating func field() throws -> UnsafeRawBufferPointer? {
            let length = Int(try integer(Int32.self))
            guard length >= 0 else { return nil }
            guard bytes.count - offset >= length else { throw MalformedCopy() }
            defer { offset += length }
            return UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + length)])
        }

        mutating func uuid() throws -> UUID {
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

    struct MalformedCopy: Error, CustomStringConvertible {
        var description: String { "PostgreSQL sent a COPY stream that is not what it promises" }
    }
}

extension [UInt8] {
    /// Appends an integer in network byte order.
    package mutating func append(bigEndian value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }
}
