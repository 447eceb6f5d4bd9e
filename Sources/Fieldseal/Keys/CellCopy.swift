import CellCrypto
import Foundation

/// Rows of a cell table in PostgreSQL's binary COPY format (PostgreSQL, COPY, "Binary Format"): a header, then for each row
/// a field count and each field's length and bytes, then a trailer.
enum CellCopy {
    /// `PGCOPY\n\377\r\n\0`, no flags, no header extension.
    static let header: [UInt8] = Array("PGCOPY\n".utf8) + [0xFF, 0x0D, 0x0A, 0] + [UInt8](repeating: 0, count: 8)
    static let trailer: [UInt8] = [0xFF, 0xFF]

    /// Reads the rows of a `COPY (SELECT id, cell, …) TO STDOUT (FORMAT binary)`, one message of libpq at a time.
    struct Reader {
        private var isFirst = true

        /// The row in a message, or nil for the trailer.
        ///
        /// - Throws: ``MalformedCopy`` when the server sent anything else than it promises.
        mutating func row(in message: UnsafeRawBufferPointer) throws -> Row? {
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
            if count == -1 { return nil }
            return try Row(UnsafeRawBufferPointer(rebasing: message[(offset + 2)...]), count: Int(count))
        }
    }

    /// One row: a record's id and its cells.
    struct Row {
        let id: UUID
        /// One for each column, nil for NULL; valid as long as the message.
        let cells: [UnsafeRawBufferPointer?]

        init(_ bytes: UnsafeRawBufferPointer, count: Int) throws {
            var fields: [UnsafeRawBufferPointer?] = []
            var offset = 0
            for _ in 0..<count {
                guard bytes.count >= offset + 4 else { throw MalformedCopy() }
                let length = Int(Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self)))
                offset += 4
                if length < 0 {
                    fields.append(nil)
                    continue
                }
                guard bytes.count >= offset + length else { throw MalformedCopy() }
                fields.append(UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + length)]))
                offset += length
            }
            guard let id = fields.first, let id, id.count == 16 else { throw MalformedCopy() }
            self.id = UUID(uuid: id.loadUnaligned(as: uuid_t.self))
            cells = Array(fields.dropFirst())
        }
    }

    struct MalformedCopy: Error, CustomStringConvertible {
        var description: String { "PostgreSQL sent a COPY stream that is not what it promises" }
    }
}

extension [UInt8] {
    /// Appends an integer in network order.
    mutating func append(bigEndian value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }
}
