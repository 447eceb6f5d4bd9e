/// Text whose lines a reader joins to paragraphs (RFC 3676).
enum FlowedText {
    private struct Line {
        /// How many `>` the line begins with.
        let quotes: Int
        var text: Substring
        let isSignature: Bool
        /// Whether the next line continues this line.
        let isFlowed: Bool

        init(_ line: Substring, deletesBlanks: Bool) {
            quotes = line.utf8.prefix { $0 == UInt8(ascii: ">") }.count
            text = Substring(line.utf8.dropFirst(quotes))
            // Space-stuffing put one blank before the text of the line.
            if text.utf8.first == 0x20 { text = Substring(text.utf8.dropFirst()) }
            isSignature = text == "-- "
            isFlowed = !isSignature && text.utf8.last == 0x20
            if isFlowed, deletesBlanks { text = Substring(text.utf8.dropLast()) }
        }
    }

    /// Joins the lines of each paragraph.
    ///
    /// - Parameter deletesBlanks: Whether to remove the blank at the end of a continued line (`DelSp=yes`).
    static func joined(_ text: String, deletesBlanks: Bool) -> String {
        var result = ""
        result.reserveCapacity(text.utf8.count)
        var previous: Line?
        for raw in text.split(omittingEmptySubsequences: false, whereSeparator: { $0 == "\n" || $0 == "\r\n" }) {
            let line = Line(raw, deletesBlanks: deletesBlanks)
            let continues = previous.map { $0.isFlowed && !line.isSignature && line.quotes == $0.quotes } ?? false
            if !continues {
                if previous != nil { result += "\r\n" }
                if line.quotes > 0 { result += String(repeating: ">", count: line.quotes) + " " }
            }
            result += line.text
            previous = line
        }
        return result
    }
}
