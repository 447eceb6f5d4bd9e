import Foundation
import JSON

// Messages of the service in the reader's language. The English messages are keys of the message files, with `{1}`, `{2}` … for
// values.
extension Texts {
    /// An error's message in this language if it is translated; else the original.
    func told(_ message: String) -> String { translated(message, "error:", errors) ?? message }

    /// What a request for approval is for, in this language if it is translated; else the original.
    func subject(_ text: String) -> String { translated(text, "subject:", subjects) ?? text }

    private func translated(_ message: String, _ prefix: String, _ patterns: MessagePatterns) -> String? {
        if let text = messages["\(prefix)\(message)"] { return text }
        return patterns.match(message).map { filled($0.translation, $0.values.mapValues(named)) }
    }

    /// The readable form of a role, an entity, an attribute, a moment or the subject of a request for approval.
    private func named(_ value: String) -> String {
        optional("role:\(value)") ?? optional("entity:\(value)") ?? optional("attribute:\(value)")
            ?? translated(value, "subject:", subjects) ?? ISO8601.date(value).map(moment) ?? value
    }
}
