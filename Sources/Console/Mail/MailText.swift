import Foundation
import Records

/// The text of an e-mail without markup, for quoting it and for estimating its size.
struct MailText {
    let text: String
    /// Whether pictures or tables belong to it, whose size the text does not tell.
    private let hasMore: Bool

    init(of record: Record) throws {
        let body = try Console.text("description", of: record)
        self.init(body, isHTML: try Console.isHTML(record))
    }

    init(_ body: String, isHTML: Bool) {
        text = isHTML ? Self.withoutMarkup(body) : body.replacing("\r\n", with: "\n")
        let lower = isHTML ? body.lowercased() : ""
        hasMore = ["<img", "<table", "<hr", "<style"].contains { lower.contains($0) }
    }

    /// Whether a small frame shows all of it, also on a phone.
    var isShort: Bool {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        return !hasMore && lines.reduce(0) { $0 + 1 + $1.utf8.count / Self.lineLength } <= Self.shortLines
    }

    /// The characters of a line on a phone, and the lines of the small frame.
    private static let lineLength = 40
    private static let shortLines = 6

    // MARK: Markup

    /// Elements whose content is not shown.
    private static let hidden = ["head", "style", "script", "title"]
    /// Elements that begin or end a line.
    private static let blocks: Set<String> = [
        "br", "p", "div", "tr", "li", "ul", "ol", "table", "blockquote", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "pre",
    ]
    private static let characters = ["amp": "&", "lt": "<", "gt": ">", "quot": "\"", "apos": "'", "nbsp": " "]

    private static func withoutMarkup(_ html: String) -> String {
        var rest = Substring(html)
        var lines = [""]
        func add(_ part: Substring) {
            let words = part.split(whereSeparator: \.isWhitespace).joined(separator: " ")
            let isSpaced: Bool = part.first?.isWhitespace == true && lines[lines.count - 1].last.map { $0 != " " } == true
            lines[lines.count - 1] += (isSpaced ? " " : "") + words + (part.last?.isWhitespace == true && !words.isEmpty ? " " : "")
        }
        while let open = rest.firstIndex(of: "<") {
            add(rest[..<open])
            rest = rest[open...]
            if rest.hasPrefix("<!--") {
                rest = rest.range(of: "-->").map { rest[$0.upperBound...] } ?? ""
                continue
            }
            guard let close = rest.firstIndex(of: ">") else {
                rest = ""
                break
            }
            let isEnd: Bool = rest.hasPrefix("</")
            let name = rest[..<close].dropFirst(isEnd ? 2 : 1).prefix { $0.isLetter || $0.isNumber }.lowercased()
            rest = rest[rest.index(after: close)...]
            if !isEnd, hidden.contains(name) {
                rest = rest.range(of: "</\(name)", options: .caseInsensitive).map { rest[$0.lowerBound...] } ?? ""
            } else if blocks.contains(name), name == "br" || !(lines.last ?? "").isEmpty {
                lines.append("")
            }
        }
        add(rest)
        return lines.map { decoded($0).trimmingCharacters(in: .whitespaces) }.joined(separator: "\n")
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// The text with its character references (`&amp;`, `&#252;`) replaced.
    private static func decoded(_ text: String) -> String {
        var rest = Substring(text)
        var result = ""
        while let start = rest.firstIndex(of: "&") {
            result += rest[..<start]
            rest = rest[start...]
            guard let end = rest.prefix(10).firstIndex(of: ";") else {
                result += "&"
                rest = rest.dropFirst()
                continue
            }
            let name = rest[rest.index(after: start)..<end]
            result += character(name) ?? String(rest[...end])
            rest = rest[rest.index(after: end)...]
        }
        return result + rest
    }

    private static func character(_ name: Substring) -> String? {
        guard name.hasPrefix("#") else { return characters[String(name)] }
        let isHexadecimal: Bool = name.hasPrefix("#x") || name.hasPrefix("#X")
        let code = UInt32(name.dropFirst(isHexadecimal ? 2 : 1), radix: isHexadecimal ? 16 : 10)
        return code.flatMap(Unicode.Scalar.init).flatMap { $0.value < 32 ? nil : String($0) }
    }
}
