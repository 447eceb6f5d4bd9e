/// Splits HTML at its tags. Each character is read once.
struct TagScanner {
    enum Token {
        /// A tag's name in lower case, with a slash before it in an end tag, and the whole tag. A comment counts as a tag.
        case tag(String, Substring)
        case text(Substring)
        /// The contents of a `style`, `script` or other raw element, up to its end tag.
        case raw(String, Substring)
        /// The beginning of a comment, a tag or a raw element without an end. A browser would hide all text that follows.
        case open(Substring)
    }

    /// Elements whose contents are not HTML (WHATWG HTML section 13.2.5, RAWTEXT and RCDATA).
    static let rawElements: Set<String> = ["style", "script", "title", "textarea", "xmp", "noembed", "noframes"]

    private let html: String
    private var index: String.Index
    /// The element whose contents come next.
    private var element: String?
    /// The kinds of markup that have no end after the current position, so that each end is searched for only once.
    private var endless: Set<String> = []

    init(_ html: String) { (self.html, index) = (html, html.startIndex) }

    mutating func next() -> Token? {
        guard index < html.endIndex else { return nil }
        if let token = content() { return token }
        let utf8 = html.utf8
        let start = index
        guard utf8[start] == UInt8(ascii: "<"), isMarkup(start) else { return text(from: start, behind: utf8.index(after: start)) }
        guard let end = closing(start) else {
            index = utf8.index(after: start)
            return .open(html[start..<index])
        }
        let tag = html[start..<end]
        let name = Self.name(of: tag)
        index = end
        guard Self.rawElements.contains(name) else { return .tag(name, tag) }
        guard hasEnd(name) else { return .open(tag) }
        element = name
        return .tag(name, tag)
    }

    private mutating func text(from start: String.Index, behind second: String.Index) -> Token {
        index = html.utf8[second...].firstIndex(of: UInt8(ascii: "<")) ?? html.endIndex
        return .text(html[start..<index])
    }

    /// The contents of an element that are not HTML.
    private mutating func content() -> Token? {
        guard let name = element else { return nil }
        element = nil
        guard let end = end(of: name) else { return nil }
        defer { index = end }
        return .raw(name, html[index..<end])
    }

    private mutating func hasEnd(_ name: String) -> Bool {
        guard !endless.contains(name) else { return false }
        if end(of: name) != nil { return true }
        endless.insert(name)
        return false
    }

    /// The position of the next end tag of an element.
    private func end(of name: String) -> String.Index? {
        let utf8 = html.utf8
        var start = index
        while let found = utf8[start...].firstIndex(of: UInt8(ascii: "<")) {
            let rest = utf8[found...].dropFirst()
            if rest.first == UInt8(ascii: "/"),
                rest.dropFirst().prefix(name.utf8.count).map({ $0 | 0x20 }).elementsEqual(name.utf8),
                rest.dropFirst(1 + name.utf8.count).first.map({ $0.isBlank || $0 == UInt8(ascii: ">") || $0 == UInt8(ascii: "/") })
                    ?? false
            {
                return found
            }
            start = utf8.index(after: found)
        }
        return nil
    }

    private static func name(of tag: Substring) -> String {
        let rest = tag.utf8.dropFirst()
        let isEnd = rest.first == UInt8(ascii: "/")
        let name = rest.dropFirst(isEnd ? 1 : 0).prefix { byte in
            !byte.isBlank && byte != UInt8(ascii: ">") && byte != UInt8(ascii: "/")
        }
        return (isEnd ? "/" : "") + String(decoding: name.prefix(30), as: UTF8.self).lowercased()
    }

    /// Whether `<` begins a tag, a comment or a declaration.
    private func isMarkup(_ start: String.Index) -> Bool {
        guard let first = html.utf8[start...].dropFirst().first else { return false }
        return first == UInt8(ascii: "/") || first == UInt8(ascii: "!") || first == UInt8(ascii: "?")
            || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(first | 0x20)
    }

    /// The end of a tag or a comment; nil if the end is missing.
    private mutating func closing(_ start: String.Index) -> String.Index? {
        let utf8 = html.utf8
        let isComment = utf8[start...].starts(with: "<!--".utf8)
        let kind = isComment ? "<!--" : "<"
        guard !endless.contains(kind) else { return nil }
        if let end = isComment ? commentEnd(start) : utf8[start...].firstIndex(of: UInt8(ascii: ">")) {
            return utf8.index(after: end)
        }
        endless.insert(kind)
        return nil
    }

    /// The `>` of `-->`, of `--!>`, and of the comments `<!-->` and `<!--->`.
    private func commentEnd(_ start: String.Index) -> String.Index? {
        let utf8 = html.utf8
        var end = utf8.index(start, offsetBy: 4)
        var dashes = 2
        while end < utf8.endIndex {
            let byte = utf8[end]
            if byte == UInt8(ascii: ">"), dashes >= 2 { return end }
            if byte == UInt8(ascii: "-") {
                dashes += 1
            } else if byte != UInt8(ascii: "!") || dashes < 2 {
                dashes = 0
            }
            end = utf8.index(after: end)
        }
        return nil
    }
}
