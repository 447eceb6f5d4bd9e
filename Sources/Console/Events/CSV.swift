import Email
import Foundation
import JSON
import Model
import Records
import Tenancy

/// Comma-separated values (RFC 4180).
enum CSV {
    static func line(_ fields: [String]) -> String { fields.map(field).joined(separator: ",") + "\r\n" }

    /// A spreadsheet would execute text that looks like a formula, so such text gets an apostrophe.
    private static func field(_ text: String) -> String {
        let safe = text.first.map { "=+-@\t\r".contains($0) } == true && Double(text) == nil ? "'\(text)" : text
        return "\"\(safe.replacing("\"", with: "\"\""))\""
    }

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
