import Foundation
import MailFormat
import Records

/// The text of an e-mail without markup, for quoting it and for estimating its size.
struct MailText {
    let text: String
    /// Whether the e-mail has pictures or tables, whose size the text does not show.
    private let hasMore: Bool

    init(of record: Record) throws {
        self.init(try Console.shownText(of: record), isHTML: try Console.isHTML(record))
    }

    init(_ body: String, isHTML: Bool) {
        text = isHTML ? PlainText.of(html: body) : body.replacing("\r\n", with: "\n")
        let lower = isHTML ? body.lowercased() : ""
        hasMore = ["<img", "<table", "<hr", "<style"].contains { lower.contains($0) }
    }

    /// The CSS classes of the smallest frame that shows all of the text, also on a phone.
    var frame: String {
        let lines = text.trimmingCharacters(in: .whitespacesAndNewlines).split(separator: "\n", omittingEmptySubsequences: false)
        let count = lines.reduce(0) { $0 + 1 + $1.utf8.count / Self.lineLength }
        let size = hasMore ? nil : Self.sizes.first { count <= $0.lines }
        return size.map { "mail \($0.name)" } ?? "mail"
    }

    /// The characters of a line on a phone.
    private static let lineLength = 40
    /// The small frames, each with its lines.
    private static let sizes = [(name: "short", lines: 6), (name: "brief", lines: 11)]
}
