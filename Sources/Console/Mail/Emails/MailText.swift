import MailFormat
import Records

/// The text of an e-mail without markup, for quoting it and for estimating its size.
struct MailText {
    let text: String
    /// Whether pictures or tables belong to it, whose size the text does not tell.
    private let hasMore: Bool

    init(of record: Record) throws {
        self.init(try Console.shownText(of: record), isHTML: try Console.isHTML(record))
    }

    init(_ body: String, isHTML: Bool) {
        text = isHTML ? PlainText.of(html: body) : body.replacing("\r\n", with: "\n")
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
}
