import Foundation

/// The words of HTML, for readers and programs that show no markup.
///
/// Blocks are lines, quoted blocks have `> ` before their lines, and a link's address follows its words.
package struct PlainText {
    /// Elements that begin or end a line.
    private static let blocks: Set<String> = [
        "br", "p", "div", "tr", "li", "ul", "ol", "table", "blockquote", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "pre",
    ]

    /// How many quote marks a line has at most.
    private static let depthLimit = 20

    private var lines = [""]
    /// How many quotes the lines from here on are in, and those of each line before.
    private var depth = 0
    private var depths: [Int] = []
    /// The element whose line breaks and blanks count, and how many of that name are open inside of it.
    private var kept: (name: String, open: Int)?
    /// A link that is open, with its words so far.
    private var link: (address: String, words: String)?

    /// The words of a document. It is empty where the document shows none.
    package static func of(html: String) -> String {
        var text = PlainText()
        var scanner = TagScanner(html)
        while let token = scanner.next() {
            switch token {
            case .tag(let name, let tag): text.take(name, tag)
            case .text(let words), .raw("textarea", let words), .raw("xmp", let words): text.add(words)
            // A `<` that begins no tag is literal.
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

    /// Adds a text, with one blank where it has several. In an element that keeps them, all blanks and line ends stay.
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

    /// Notes where an element begins and ends that keeps blanks: `pre`, or one whose style says so.
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

    /// Adds the address of a link, unless its words are the address or it is too long.
    private mutating func endLink() {
        guard let link else { return }
        self.link = nil
        // Comparing whole texts takes as many steps as they have letters. A search would take their product.
        guard link.address.utf8.count <= Self.longestAddress, !Self.isShown(link.address, by: link.words) else { return }
        lines[lines.count - 1] += "\(lines[lines.count - 1].last == " " ? "" : " ")<\(link.address)>"
    }
}
