/// Parses a message into its parts, within limits.
struct MessageStructure {
    /// How deeply multiparts are nested at most.
    private static let depthLimit = 30
    /// How many parts are parsed.
    private static let partLimit = 1_000

    private var parts = 0
    /// Sentences about parts of the message that could not be represented.
    private(set) var notes: [String] = []
    private(set) var root: MessagePart

    init(_ bytes: ArraySlice<UInt8>) {
        root = Self.part(bytes, fallback: ("text", "plain"))
        var root = root
        fill(&root, depth: 0)
        self.root = root
    }

    private static func part(_ bytes: ArraySlice<UInt8>, fallback: (String, String)) -> MessagePart {
        let (header, body) = HeaderFields.split(bytes)
        return MessagePart(
            header: header, type: .init(header.first("content-type"), fallback: fallback),
            disposition: ParameterizedValue(header.first("content-disposition")), body: body)
    }

    private mutating func fill(_ part: inout MessagePart, depth: Int) {
        if part.header.isCut { note("A header has too many fields: some are left out.") }
        guard part.type.main == "multipart" else { return fillSigned(&part, depth) }
        guard depth < Self.depthLimit, parts < Self.partLimit else {
            part.isUnread = true
            return noteLimit()
        }
        let fallback = part.type.sub == "digest" ? ("message", "rfc822") : ("text", "plain")
        guard let sections = sections(of: part) else { return }
        part.isUnread = sections.isEmpty
        if sections.isEmpty, Self.hasWords(part.body) { note("A multipart has text but no part: the text is left out.") }
        for section in sections {
            guard parts < Self.partLimit else { return noteLimit() }
            parts += 1
            var child = Self.part(section, fallback: fallback)
            fill(&child, depth: depth + 1)
            part.children.append(child)
        }
    }

    /// Adds the part that a signature encloses (RFC 8551 section 3.5.2).
    private mutating func fillSigned(_ part: inout MessagePart, _ depth: Int) {
        guard part.isEnveloped, let content = SignedContent.content(of: part.content) else { return }
        guard depth < Self.depthLimit, parts < Self.partLimit else { return noteLimit() }
        parts += 1
        var child = Self.part(content[...], fallback: ("text", "plain"))
        fill(&child, depth: depth + 1)
        part.children = [child]
    }

    private mutating func noteLimit() {
        note(
            "The message has more than \(Self.partLimit) parts, or parts nested more than \(Self.depthLimit) levels deep: some "
                + "are left out."
        )
    }

    private mutating func note(_ text: String) {
        if !notes.contains(text) { notes.append(text) }
    }

    /// - Returns: The sections of a multipart; nil when it has no delimiter.
    private mutating func sections(of part: MessagePart) -> [ArraySlice<UInt8>]? {
        let limit = Self.partLimit - parts + 1
        let boundary = part.type.value.raw("boundary")
        if let boundary, let sections = split(part.body, boundary, limit) { return sections }
        // Some programs encode the whole multipart, although RFC 2045 section 6.4 forbids this.
        let content = part.content
        if let boundary, content.count != part.body.count, let sections = split(content, boundary, limit) { return sections }
        // The boundary is missing or wrong, so a line that looks like a delimiter is used.
        if let sections = Self.guess(part.body).flatMap({ split(part.body, $0, limit) }) { return sections }
        // The body's lines may end in CR alone even if the header's lines do not.
        guard part.body.hasLoneReturn else { return nil }
        let body = part.body.withLineFeeds
        return boundary.flatMap { split(body, $0, limit) } ?? Self.guess(body).flatMap { split(body, $0, limit) }
    }

    /// The sections between the delimiters (RFC 2046 section 5.1.1); nil without a delimiter.
    private mutating func split(_ body: ArraySlice<UInt8>, _ boundary: [UInt8], _ limit: Int) -> [ArraySlice<UInt8>]? {
        // Blanks at the boundary's end are not part of it.
        let delimiter = Array("--".utf8) + boundary[...].trimmed
        var sections: [ArraySlice<UInt8>] = []
        var begin: Int?
        var ended: Int?
        var found = false
        var start = body.startIndex
        while start < body.endIndex, sections.count < limit {
            let end = body.lineEnd(from: start)
            let line = body[start..<end]
            start = end
            guard line.starts(with: delimiter) else { continue }
            // With an empty boundary, the line `-- ` before a signature would look like a delimiter.
            if delimiter.count == 2, line.contains(0x20) { continue }
            let rest = line.dropFirst(delimiter.count).trimmed
            let isLast = rest.elementsEqual("--".utf8)
            guard rest.isEmpty || isLast else { continue }
            if !found, Self.isSection(body[..<line.startIndex]) {
                sections.append(Self.section(body, body.startIndex, line.startIndex))
            }
            found = true
            if let begin { sections.append(Self.section(body, begin, line.startIndex)) }
            // A delimiter after the last one means that a nested multipart has the same boundary.
            if ended != nil, !isLast {
                note("Two multiparts have the same boundary, so it is not certain which part belongs to which.")
            }
            begin = isLast ? nil : end
            ended = isLast ? end : nil
        }
        // Without a last delimiter the part continues to the end.
        if let begin, sections.count < limit { sections.append(body[begin...]) }
        if let ended, Self.guess(body[ended...]) != nil { note("Parts follow the last delimiter: they are left out.") }
        return found ? sections : nil
    }

    /// Whether the body has a line with words that does not look like a delimiter.
    private static func hasWords(_ body: ArraySlice<UInt8>) -> Bool {
        var start = body.startIndex
        while start < body.endIndex {
            let end = body.lineEnd(from: start)
            let line = body[start..<end].trimmed
            if !line.isEmpty, !line.starts(with: "--".utf8) { return true }
            start = end
        }
        return false
    }

    /// Whether the text before the first delimiter is a part with a missing delimiter.
    private static func isSection(_ preamble: ArraySlice<UInt8>) -> Bool {
        preamble.prefix(13).map({ $0 | 0x20 }).elementsEqual("content-type:".utf8.map { $0 | 0x20 })
    }

    /// The section without its last line end, which belongs to the delimiter.
    private static func section(_ body: ArraySlice<UInt8>, _ begin: Int, _ delimiter: Int) -> ArraySlice<UInt8> {
        begin < delimiter ? body[begin..<delimiter].chomped : body[begin..<begin]
    }

    /// The boundary of the first line that looks like a delimiter and is followed by a field of a part.
    private static func guess(_ body: ArraySlice<UInt8>) -> [UInt8]? {
        var start = body.startIndex
        var candidate: [UInt8]?
        while start < body.endIndex {
            let end = body.lineEnd(from: start)
            let line = body[start..<end].trimmed
            start = end
            if let candidate, line.prefix(8).map({ $0 | 0x20 }).elementsEqual("content-".utf8.map { $0 | 0x20 }) {
                return candidate
            }
            candidate = line.starts(with: "--".utf8) && (3...200).contains(line.count) ? Array(line.dropFirst(2)) : nil
        }
        return nil
    }
}
