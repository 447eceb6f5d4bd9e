import Foundation
import JSON

// Messages of the service in the reader's language. The English messages are keys of the message files, with `{1}`, `{2}` … for
// values.
extension Texts {
    /// An error's message in this language if it is translated; else the original.
    func told(_ message: String) -> String { translated(message, "error:", errors) ?? message }

    /// An error's message for a list of records that have it: without what differs between them, if there are such words.
    func toldOfMany(_ message: String) -> String { translated(message, "manyError:", manyErrors) ?? told(message) }

    /// What a router reported of a mailbox, in this language if it is translated; else the original.
    func toldReport(_ text: String) -> String {
        guard let cause = Self.cause(text) else { return told(text) }
        return "\(told(cause)) \(told(Self.disabledNote))"
    }

    /// A report without the note that the mailbox is disabled; nil if it has none.
    static func cause(_ report: String) -> String? {
        report.hasSuffix(" \(disabledNote)") ? String(report.dropLast(disabledNote.count + 1)) : nil
    }

    /// What the service adds to the report of a failure that disables a mailbox.
    static let disabledNote = "The mailbox is disabled until it is tested and enabled again."

    /// What a request for approval is for, in this language if it is translated; else the original.
    func subject(_ text: String) -> String { translated(text, "subject:", subjects) ?? text }

    private func translated(_ message: String, _ prefix: String, _ patterns: MessagePatterns) -> String? {
        if let text = messages["\(prefix)\(message)"] { return text }
        return patterns.match(message).map { filled($0.translation, $0.values.mapValues(named)) }
    }

    /// The readable form of a role, an entity, an attribute, a moment or the subject of a request for approval.
    private func named(_ value: String) -> String {
        optional("role:\(value)") ?? optional("entity:\(value)") ?? optional("attribute:\(value)")
            ?? optional("word:\(value)") ?? translated(value, "subject:", subjects) ?? ISO8601.date(value).map(moment) ?? value
    }
}
