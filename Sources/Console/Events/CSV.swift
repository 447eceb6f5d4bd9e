import Email
import Foundation
import JSON
import Model
import Records
import Tenancy

/// Comma-separated values (RFC 4180).
enum CSV {
    /// The first line: the names of the columns, which are the same in each language. The line begins with a byte order mark,
    /// because without it Excel does not read the file as UTF-8.
    static func head(_ columns: [String]) -> String { "\u{FEFF}" + line(columns) }

    static func line(_ fields: [String]) -> String { fields.map(field).joined(separator: ",") + "\r\n" }

    /// A spreadsheet would execute text that looks like a formula, so such text gets an apostrophe.
    private static func field(_ text: String) -> String {
        let safe = isFormula(text) ? "'\(text)" : text
        return "\"\(safe.replacing("\"", with: "\"\""))\""
    }

    /// Whether a spreadsheet may treat a text as a formula. Compares code points, because `=` with a combining mark after it is a
    /// different Swift character.
    private static func isFormula(_ text: String) -> Bool {
        let first = text.unicodeScalars.first { $0.properties.generalCategory != .format }
        return first.map(formulaBeginnings.contains) == true && Double(text) == nil
    }

    /// The beginnings of formulas, also in their full-width forms, and white space that spreadsheets drop before a formula.
    private static let formulaBeginnings = Set("=+-@\t\r\n\u{FF1D}\u{FF0B}\u{FF0D}\u{FF20}".unicodeScalars)

    static func text(_ value: AttributeValue) -> String {
        switch value {
        case .null, .bytes: ""
        case .text(let text), .decimal(let text): text
        case .int(let number): "\(number)"
        case .bool(let flag): "\(flag)"
        case .date(let date): ISO8601.text(date)
        case .id(let id): id.text
        }
    }
}
