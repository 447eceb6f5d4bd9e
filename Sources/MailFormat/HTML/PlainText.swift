import Foundation

/// The words of HTML, for readers and programs that show no markup.
///
/// Block elements begin new lines, quoted blocks have `> ` before their lines, and a link's address follows its words.
package struct PlainText {
    /// Elements that begin or end a line.
    private static let blocks: Set<String> = [
        "br", "p", "div", "tr", "li", "ul", "ol", "table", "blockquote", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "pre",
    ]

    /// How many quote marks a line has at most.
    private static let depthLimit = 20

    private var lines = [""]
    /// How many quoted blocks the current line is in, and how many each line before it was in.
    private var depth = 0
    private var depths: [Int] = []
    /// The element in which line breaks and blanks are kept, and how many elements of that name are open: itself, and those inside
    /// of it.
    private var kept: (name: String, open: Int)?
    /// A link that is open, with its words so far.
    private var link: (address: String, words: String)?

    /// The words of a document; empty if the document displays none.
    package static func of(html: String) -> String {
        var text = PlainText()
        var scanner = TagScanner(html)
        while let token = scanner.next() {
            switch token {
            case .tag(let name, let tag): text.take(name, tag)
            case .text(let words), .raw("textarea", let words), .raw("xmp", let words): text.add(words)
            // The `<` of a tag or a comment without an end is literal.
            case .open(let begin): if begin.utf8.count == 1 { text.add(begin) }
            case .raw: break
            }
        }
        return text.joined
    }

    private var joined: String {
        zip(lines, depths + [depth]).map { line, depth in
            let words = line[..<(line.lastIndex { !$0.isWhitespace }.map(line.index(after:)) ?? line.startIndex)]
            guard depth > 0 else { return String(words) }
            return String(repeating: ">", count: min(depth, Self.depthLimit)) + (words.isEmpty ? "" : " \(words)")
        }.joined(separator: "\n").trimmingCharacters(in: .whitespacesAndNewlines)
    }

    private mutating func take(_ name: String, _ tag: Substring) {
        let isEnd = name.hasPrefix("/")
        let element = isEnd ? String(name.dropFirst()) : name
        if Self.blocks.contains(element), element == "br" || !lines[lines.count - 1].isEmpty { endLine() }
        switch name {
        case "blockquote": depth += 1
        case "/blockquote": depth = max(0, depth - 1)
        case "a": begin(link: HTMLTag(tag)["href"] ?? "")
        case "/a": endLink()
        case "img": HTMLTag(tag)["alt"].map { add(Substring($0)) }
        default: break
        }
        keep(element, isEnd: isEnd, tag)
    }

    // MARK: Lines

    private mutating func endLine() {
        lines.append("")
        depths.append(depth)
    }

    /// Adds words to the line, and to the link that is open.
    private mutating func write(_ words: String) {
        lines[lines.count - 1] += words
        if link != nil { link?.words += words }
    }

    /// Adds a text. Several blanks become one, except within an element that keeps blanks and line breaks.
    private mutating func add(_ part: Substring) {
        if kept != nil {
            let rows = String(part).replacing("\r\n", with: "\n").split(separator: "\n", omittingEmptySubsequences: false)
            for (index, row) in rows.enumerated() {
                if index > 0 { endLine() }
                write(CharacterReferences.decoded(row))
            }
            return
        }
        let words = part.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        let isSpaced = part.first?.isWhitespace == true && lines[lines.count - 1].last.map { $0 != " " } == true
        let isFollowed = part.last?.isWhitespace == true && !words.isEmpty
        write((isSpaced ? " " : "") + CharacterReferences.decoded(Substring(words)) + (isFollowed ? " " : ""))
    }

    /// Notes the beginning and the end of an element that keeps blanks: `pre`, or an element whose style says so.
    private mutating func keep(_ element: String, isEnd: Bool, _ tag: Substring) {
        if let kept {
            guard kept.name == element else { return }
            self.kept = isEnd ? kept.open == 1 ? nil : (element, kept.open - 1) : (element, kept.open + 1)
        } else if !isEnd, element == "pre" || HTMLTag(tag)["style"]?.contains("pre-wrap") == true {
            kept = (element, 1)
        }
    }

    // MARK: Links

    private mutating func begin(link address: String) {
        endLink()
        let isShown = ["http://", "https://"].contains { address.lowercased().hasPrefix($0) }
        if isShown { link = (CharacterReferences.decoded(Substring(address)), "") }
    }

    /// The longest address that is written, in bytes.
    private static let longestAddress = 2_000

    /// Whether the words of a link are its address, with or without the scheme and a last slash.
    private static func isShown(_ address: String, by words: String) -> Bool {
        func bare(_ text: String) -> Substring {
            var text = text[...].drop(while: \.isWhitespace)
            while text.last?.isWhitespace == true { text.removeLast() }
            if let scheme = ["http://", "https://"].first(where: { text.prefix($0.count).lowercased() == $0 }) {
                text = text.dropFirst(scheme.count)
            }
            return text.last == "/" ? text.dropLast() : text
        }
        return bare(address) == bare(words)
    }

    /// Adds the address of a link. Leaves the address out if the link's words are the address, or if it is too long.
    private mutating func endLink() {
        guard let link else { return }
        self.link = nil
        // This comparison takes linear time. Searching for the address in the words would take quadratic time.
        guard link.address.utf8.count <= Self.longestAddress, !Self.isShown(link.address, by: link.words) else { return }
        lines[lines.count - 1] += "\(lines[lines.count - 1].last == " " ? "" : " ")<\(link.address)>"
    }
}
