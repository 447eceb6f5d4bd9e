/// The header of a message or of a part (RFC 5322 section 2.2), repaired as mail programs do.
struct HeaderFields {
    /// How many bytes of a header, and how many fields, are parsed.
    private static let sizeLimit = 8 << 20
    private static let fieldLimit = 10_000

    private var fields: [(name: String, value: ArraySlice<UInt8>)] = []
    /// Whether there were more fields than the limit.
    private(set) var isCut = false

    /// Splits a message or a part into its header and its body.
    static func split(_ bytes: ArraySlice<UInt8>) -> (header: HeaderFields, body: ArraySlice<UInt8>) {
        var header = HeaderFields()
        var (lines, end) = logicalLines(bytes)
        // An invalid line is skipped if a known field follows it. If no known field follows, the body begins at the invalid line.
        let last = lines.lastIndex { name(of: $0).map(isOfMail) ?? false }
        // A line of blanks is skipped too if only fields follow up to the end of the header.
        let isEnded = lines.last.map { $0.endIndex < end } ?? false
        let lastText = lines.lastIndex { !$0.trimmed.isEmpty && !(name(of: $0).map(mayFollowBlanks) ?? false) } ?? -1
        for (index, line) in lines.enumerated() {
            if let name = name(of: line) {
                if header.fields.count < fieldLimit { header.fields.append((name, value(of: line))) } else { header.isCut = true }
            } else if last.map({ $0 < index }) ?? true {
                if isEnvelope(line) { continue }
                let isBlank = line.trimmed.isEmpty
                // A line of blanks is skipped if it is the last line, or if only fields follow it.
                if isBlank, index == lines.count - 1 || isEnded && lastText < index { continue }
                end = isBlank ? line.endIndex : line.startIndex
                break
            }
        }
        return (header, bytes[end...])
    }

    /// The lines, each with its continuations, up to the empty line; and the position of the body.
    private static func logicalLines(_ bytes: ArraySlice<UInt8>) -> ([ArraySlice<UInt8>], Int) {
        var lines: [ArraySlice<UInt8>] = []
        var start = bytes.startIndex
        let limit = min(bytes.endIndex, bytes.startIndex + sizeLimit)
        while start < limit {
            let end = bytes.lineEnd(from: start)
            let line = bytes[start..<end]
            if line.isEmptyLine { return (lines, end) }
            // A line of blanks continues a field if the next line continues the field too. If the next line does not, the line of
            // blanks may end the header.
            let isContinuation = line.first.map { $0 == 0x20 || $0 == 0x09 } ?? false
            let endsField = isContinuation && line.trimmed.isEmpty && end < limit && bytes[end] != 0x20 && bytes[end] != 0x09
            if isContinuation, !endsField, let last = lines.indices.last {
                lines[last] = bytes[lines[last].startIndex..<end]
            } else {
                lines.append(line)
            }
            start = end
        }
        return (lines, start)
    }

    /// The name of a field in lower case; nil for a line that is not a field.
    private static func name(of line: ArraySlice<UInt8>) -> String? {
        var line = line
        // A program may write a byte order mark before its first field.
        if line.starts(with: [0xEF, 0xBB, 0xBF]) { line = line.dropFirst(3) }
        guard let colon = line.prefix(200).firstIndex(of: UInt8(ascii: ":")) else { return nil }
        let name = line[line.startIndex..<colon].trimmed
        guard !name.isEmpty, line.first?.isBlank == false, name.allSatisfy({ (0x21...0x7E).contains($0) }) else { return nil }
        return String(decoding: name, as: UTF8.self).lowercased()
    }

    private static func value(of line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return [] }
        let folded = line[(colon + 1)...].trimmed
        // Unfolding removes the end of a line and keeps the blanks.
        return folded.contains(0x0A) ? folded.filter { $0 != 0x0A && $0 != 0x0D }[...] : folded
    }

    private static func isOfMail(_ name: String) -> Bool { name.hasPrefix("content-") || names.contains(name) }

    /// Whether the name shows that a line is a field, and not the beginning of a text.
    private static func mayFollowBlanks(_ name: String) -> Bool {
        isOfMail(name) || prefixes.contains { name.hasPrefix($0) }
    }

    private static let prefixes = ["x-", "list-", "arc-", "resent-", "authentication-", "received-", "auto-", "dkim-", "thread-"]

    /// Whether a line is the `From ` line of a mailbox file, or that line quoted with `>`.
    private static func isEnvelope(_ line: ArraySlice<UInt8>) -> Bool {
        line.starts(with: "From ".utf8) || line.starts(with: ">From ".utf8)
    }

    private static let names: Set<String> = [
        "from", "to", "cc", "bcc", "subject", "date", "message-id", "mime-version", "received", "return-path", "sender", "reply-to",
        "in-reply-to", "references", "dkim-signature", "delivered-to", "x-mailer", "user-agent", "importance", "x-priority",
    ]

    /// The value of the first field with this name, which must be in lower case.
    func first(_ name: String) -> ArraySlice<UInt8>? { fields.first { $0.name == name }?.value }

    /// The values of all fields with this name, which must be in lower case.
    func all(_ name: String) -> [ArraySlice<UInt8>] { fields.lazy.filter { $0.name == name }.map(\.value) }

    var isEmpty: Bool { fields.isEmpty }
}
