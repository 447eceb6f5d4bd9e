/// What is done with HTML of messages: whether it says anything, and how several texts become one.
enum HTMLText {
    /// Whether it shows any text to a reader.
    static func hasText(_ html: String) -> Bool {
        var isHidden: String?
        var scanner = TagScanner(html)
        while let token = scanner.next() {
            switch token {
            case .tag(let name, _):
                if let hidden = isHidden {
                    if name == "/\(hidden)" { isHidden = nil }
                } else if ["head", "style", "script", "title"].contains(name) {
                    isHidden = name
                } else if name == "body" {
                    isHidden = nil
                }
            case .text(let text):
                // Entities of blanks are no text.
                guard isHidden == nil else { continue }
                let words = String(text).replacing("&nbsp;", with: "").replacing("&#160;", with: "").replacing("&zwnj;", with: "")
                if words.unicodeScalars.contains(where: { !$0.properties.isWhitespace && !blanks.contains($0) }) { return true }
            }
        }
        return false
    }

    private static let blanks: Set<Unicode.Scalar> = ["\u{200B}", "\u{200C}", "\u{200D}", "\u{FEFF}", "\u{AD}", "\u{34F}", "\0"]

    /// Plain text as HTML, with its lines.
    static func escaped(_ text: String) -> String {
        // By scalars: a combining mark makes another character of a sign, and it is still one to a browser.
        var clean = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": clean += "&amp;"
            case "<": clean += "&lt;"
            case ">": clean += "&gt;"
            default: clean.unicodeScalars.append(scalar)
            }
        }
        return "<div style=\"white-space: pre-wrap\">\(clean)</div>"
    }

    /// A document without what makes it one, to stand in another.
    static func fragment(_ html: String) -> String {
        var result = ""
        var isTitle = false
        var scanner = TagScanner(html)
        while let token = scanner.next() {
            switch token {
            case .tag("title", _): isTitle = true
            case .tag("/title", _): isTitle = false
            case .tag(let name, let text): if !frame.contains(name) { result += text }
            case .text(let text): if !isTitle { result += text }
            }
        }
        return result
    }

    /// Where the body of a document begins and ends; its ends where no tag says so.
    static func body(of html: String) -> Range<String.Index> {
        var begin: String.Index?
        var end: String.Index?
        var scanner = TagScanner(html)
        while let token = scanner.next() {
            if case .tag("body", let text) = token, begin == nil { begin = text.endIndex }
            if case .tag("/body", let text) = token { end = text.startIndex }
        }
        let first = begin ?? html.startIndex
        return first..<max(first, end ?? html.endIndex)
    }

    private static let frame: Set<String> = ["html", "/html", "head", "/head", "body", "/body", "!doctype", "meta", "?xml", "base"]

    /// Text of `text/enriched` and `text/richtext` (RFC 1896) without its commands.
    static func unenriched(_ text: String) -> String {
        var result = ""
        var isParameter = false
        var scanner = TagScanner(text.replacing("<<", with: "\u{1}"))
        while let token = scanner.next() {
            switch token {
            case .tag("param", _): isParameter = true
            case .tag("/param", _): isParameter = false
            case .tag: break
            case .text(let text): if !isParameter { result += text }
            }
        }
        return result.replacing("\u{1}", with: "<")
    }
}

/// Splits HTML at its tags; each character is looked at once.
private struct TagScanner {
    enum Token {
        /// A tag's name in lower case, with its slash, and all of it.
        case tag(String, Substring)
        case text(Substring)
    }

    private let html: String
    private var index: String.Index

    init(_ html: String) { (self.html, index) = (html, html.startIndex) }

    mutating func next() -> Token? {
        guard index < html.endIndex else { return nil }
        let utf8 = html.utf8
        let start = index
        guard utf8[start] == UInt8(ascii: "<"), let end = closing(start) else {
            index = utf8[utf8.index(after: start)...].firstIndex(of: UInt8(ascii: "<")) ?? html.endIndex
            return .text(html[start..<index])
        }
        index = end
        let tag = html[start..<end]
        let name = tag.utf8.dropFirst().prefix { byte in
            !byte.isBlank && byte != UInt8(ascii: ">") && (byte != UInt8(ascii: "/") || tag.utf8.dropFirst().first == byte)
        }
        return .tag(String(decoding: name.prefix(30), as: UTF8.self).lowercased(), tag)
    }

    /// Where a tag or a comment ends; nil where `<` begins none.
    private func closing(_ start: String.Index) -> String.Index? {
        let utf8 = html.utf8
        let rest = utf8[start...]
        guard let first = rest.dropFirst().first,
            first == UInt8(ascii: "/") || first == UInt8(ascii: "!") || first == UInt8(ascii: "?")
                || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(first | 0x20)
        else { return nil }
        if rest.starts(with: "<!--".utf8) {
            var end = utf8.index(start, offsetBy: 4)
            var dashes = 0
            while end < utf8.endIndex {
                if utf8[end] == UInt8(ascii: ">"), dashes >= 2 { return utf8.index(after: end) }
                dashes = utf8[end] == UInt8(ascii: "-") ? dashes + 1 : 0
                end = utf8.index(after: end)
            }
            return utf8.endIndex
        }
        return rest.firstIndex(of: UInt8(ascii: ">")).map { utf8.index(after: $0) } ?? utf8.endIndex
    }
}
