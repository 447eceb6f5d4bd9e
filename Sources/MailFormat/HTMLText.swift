/// What is done with HTML of messages: whether it says anything, and how several texts become one.
enum HTMLText {
    /// What HTML shows to a reader; the greater one is the more.
    enum Content: Int {
        case nothing
        /// Something that is fetched from elsewhere or drawn, and no word.
        case pictures
        case words
    }

    /// What a document shows. What a browser hides because something has no end counts as shown.
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
            // What follows it shows.
            case .open: break
            }
        }
        return found
    }

    /// What one tag shows.
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
        // Entities of blanks are no text.
        let words = String(text).replacing("&nbsp;", with: "").replacing("&#160;", with: "").replacing("&zwnj;", with: "")
        return words.unicodeScalars.contains { !$0.properties.isWhitespace && !blanks.contains($0) }
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
    static func fragment(_ html: String) -> String { repaired(html, isFragment: true) }

    /// A document in which others may stand: what has no end hides nothing of what follows.
    static func closed(_ html: String) -> String { repaired(html, isFragment: false) }

    private static func repaired(_ html: String, isFragment: Bool) -> String {
        var result = ""
        var scanner = TagScanner(html)
        while let token = scanner.next() {
            switch token {
            case .tag(let name, let text): if !isFragment || !frame.contains(name) { result += text }
            case .raw(let name, let text): if !isFragment || name != "title" { result += text }
            case .text(let text): result += text
            // Of a tag, its content shows without it; a sign that begins nothing stands for itself.
            case .open(let text): if text.utf8.count == 1 { result += "&lt;" }
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
