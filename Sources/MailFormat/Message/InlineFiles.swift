/// Files in uuencode within a plain text, between `begin` and `end`, as old programs attach them.
struct InlineFiles {
    struct File {
        let name: String
        let bytes: [UInt8]
    }

    /// The text without the files.
    private(set) var text: [UInt8] = []
    private(set) var files: [File] = []

    /// - Returns: Nil for a text without a complete file.
    init?(_ content: ArraySlice<UInt8>) {
        guard Self.mayHaveFiles(content) else { return nil }
        var start = content.startIndex
        while start < content.endIndex {
            let end = content.lineEnd(from: start)
            if let name = Self.name(content[start..<end].chomped), let (bytes, next) = Self.file(content, from: end) {
                files.append(File(name: name, bytes: bytes))
                start = next
            } else {
                text += content[start..<end]
                start = end
            }
        }
        if files.isEmpty { return nil }
    }

    private static let begin = Array("begin ".utf8)

    private static func mayHaveFiles(_ content: ArraySlice<UInt8>) -> Bool {
        var start = content.startIndex
        while start < content.endIndex {
            if content[start] == begin[0], content[start...].starts(with: begin) { return true }
            start = content.lineEnd(from: start)
        }
        return false
    }

    /// The name in `begin 644 name`; nil for another line.
    private static func name(_ line: ArraySlice<UInt8>) -> String? {
        guard line.starts(with: begin) else { return nil }
        let rest = line.dropFirst(begin.count)
        let mode = rest.prefix { (UInt8(ascii: "0")...UInt8(ascii: "7")).contains($0) }
        let name = rest.dropFirst(mode.count)
        guard (3...4).contains(mode.count), name.first == 0x20, !name.trimmed.isEmpty else { return nil }
        return Charset.decode(name.trimmed, label: nil)
    }

    /// The file whose lines begin at an index, and the index after its end; nil if a line is invalid, or the end is missing.
    private static func file(_ content: ArraySlice<UInt8>, from first: Int) -> (bytes: [UInt8], end: Int)? {
        var bytes: [UInt8] = []
        var start = first
        while start < content.endIndex {
            let end = content.lineEnd(from: start)
            let line = content[start..<end].chomped
            start = end
            if line.elementsEqual("end".utf8) { return (bytes, end) }
            guard let decoded = decoded(line) else { return nil }
            bytes += decoded
        }
        return nil
    }

    /// The decoded bytes of a line of uuencode; nil for another line. Blanks at the line's end may be missing, and one more
    /// character may be a checksum.
    private static func decoded(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard line.allSatisfy({ (0x20...0x60).contains($0) }) else { return nil }
        let letters = (TransferEncoding.uuLength(line) + 2) / 3 * 4
        // Besides the data, a line has a character for the length and may have one for a checksum.
        guard line.count <= letters + 2 else { return nil }
        return TransferEncoding.uudecoded(line: line)
    }
}
