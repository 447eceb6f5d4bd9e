/// The header and the trailer around the rows of a binary COPY.
enum BinaryCopyStream {
    /// `PGCOPY\n\377\r\n\0`, no flags, no header extension.
    static let header: [UInt8] = Array("PGCOPY\n".utf8) + [0xFF, 0x0D, 0x0A, 0] + [UInt8](repeating: 0, count: 8)
    static let trailer: [UInt8] = [0xFF, 0xFF]

    /// Removes the header and the trailer from the messages that libpq returns.
    struct Messages {
        private var isFirst = true

        /// The row in a message; nil for the trailer.
        ///
        /// - Throws: ``MalformedCopy`` when the message does not have the format.
        mutating func row(in message: UnsafeRawBufferPointer) throws -> UnsafeRawBufferPointer? {
            var offset = 0
            if isFirst {
                let flagsEnd = BinaryCopyStream.header.count
                guard message.count >= flagsEnd else { throw MalformedCopy() }
                let extensionLength = Int(UInt32(bigEndian: message.loadUnaligned(fromByteOffset: flagsEnd - 4, as: UInt32.self)))
                offset = flagsEnd + extensionLength
                isFirst = false
            }
            guard message.count >= offset + 2 else { throw MalformedCopy() }
            let count = Int16(bigEndian: message.loadUnaligned(fromByteOffset: offset, as: Int16.self))
            return count == -1 ? nil : UnsafeRawBufferPointer(rebasing: message[offset...])
        }
    }
}
