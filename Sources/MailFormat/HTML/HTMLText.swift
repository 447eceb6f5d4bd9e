/// Functions for HTML of messages: whether it displays anything, and how several texts are combined.
enum HTMLText {
    /// What HTML displays, from the least to the most.
    enum Content: Int {
        case nothing
        /// Something that is loaded or drawn, and no text.
        case pictures
        case words
    }

    /// What a document displays. Text that a browser would hide, because an element before it has no end, counts as displayed.
    static func content(of html: String) -> Content {
        var found = Content.nothing
        var isLinked = false
        var scanner = TagScanner(html)
        while let token = scanner.next() {
            switch token {
            case .tag("a", let tag): isLinked = HTMLTag(tag).has("href")
            case .tag("/a", _): isLinked = false
            case .tag(let name, let tag):
                switch content(of: name, HTMLTag(tag)) {
                case .words: return .words
                case .pictures where isLinked && name == "img": return .words
                case .pictures: found = .pictures
                case .nothing: break
                }
            case .text(let text): if hasWords(text) { return .words }
            case .raw("textarea", let text), .raw("xmp", let text): if hasWords(text) { return .words }
            case .raw: break
            // The text after markup without an end counts as displayed.
            case .open: break
            }
        }
        return found
    }

    /// What one tag displays.
    private static func content(of name: String, _ tag: HTMLTag) -> Content {
        switch name {
        case "img":
            if tag.has("alt") { return .words }
            return tag.isPoint || !tag.has("src") && !tag.has("srcset") ? .nothing : .pictures
        case "input", "button", "option":
            return ["value", "placeholder", "alt", "label"].contains(where: tag.has) ? .words : .nothing
        case "area": return tag.has("href") ? .words : .nothing
        case "iframe", "object", "embed", "video", "audio", "frame":
            return ["src", "srcdoc", "data", "poster"].contains(where: tag.has) ? .words : .pictures
        case "svg", "canvas", "image": return .pictures
        case "link", "script", "base", "meta": return .nothing
        default: return tag.has("background") || tag.hasPicture ? .pictures : .nothing
        }
    }

    private static func hasWords(_ text: Substring) -> Bool {
        // Character references of blanks are not text.
        let words = String(text).replacing("&nbsp;", with: "").replacing("&#160;", with: "").replacing("&zwnj;", with: "")
        return words.unicodeScalars.contains { !$0.properties.isWhitespace && !blanks.contains($0) }
    }

    private static let blanks: Set<Unicode.Scalar> = ["\u{200B}", "\u{200C}", "\u{200D}", "\u{FEFF}", "\u{AD}", "\u{34F}", "\0"]

    /// Plain text as HTML, with its line breaks.
    static func escaped(_ text: String) -> String {
        // Works on scalars: a combining mark after `<` makes another Swift character of it, but a browser still sees `<`.
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

    /// The contents of a document, for embedding in another document.
    static func fragment(_ html: String) -> String { repaired(html, isFragment: true) }

    /// A document in which other texts can be embedded. No element of the document stays open, because an open element could hide
    /// the embedded text.
    static func closed(_ html: String) -> String { repaired(html, isFragment: false) }

    private static func repaired(_ html: String, isFragment: Bool) -> String {
        var result = ""
        var scanner = TagScanner(html)
        while let token = scanner.next() {
            switch token {
            case .tag(let name, let text): if !isFragment || !frame.contains(name) { result += text }
            case .raw(let name, let text): if !isFragment || name != "title" { result += text }
            case .text(let text): result += text
            // The `<` of a tag or a comment without an end is literal. The start tag of a raw element without an end is left out,
            // and its contents are displayed.
            case .open(let text): if text.utf8.count == 1 { result += "&lt;" }
            }
        }
        return result
    }

    /// The beginning and end of a document's body. Without tags of a body, the whole document is the body.
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

    private static let frame: Set<String> = [
        "html", "/html", "head", "/head", "body", "/body", "!doctype", "meta", "?xml", "base", "title", "/title",
    ]

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
            case .text(let text), .raw(_, let text), .open(let text): if !isParameter { result += text }
            }
        }
        return result.replacing("\u{1}", with: "<")
    }
}
