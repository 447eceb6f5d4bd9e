import Email
import Foundation
import JSON

// Messages of the service in the reader's language. The English messages are keys of the message files, with `{1}`, `{2}` … for
// values.
extension Texts {
    /// An error's message in this language if it is translated; otherwise the original.
    func told(_ message: String) -> String { translated(message, "error:", errors) ?? message }

    /// An error's message for a list of records that share it. The translation for such a list, if there is one, leaves out what
    /// differs between the records.
    func toldOfMany(_ message: String) -> String { translated(message, "manyError:", manyErrors) ?? told(message) }

    /// A router's report about a mailbox, in this language. A report without a translation is quoted.
    func toldReport(_ text: String) -> String {
        for note in [MailboxLeases.disabledNote, MailboxLeases.noTypeNote] where text.hasSuffix(" \(note)") {
            return "\(toldReport(String(text.dropLast(note.count + 1)))) \(told(note))"
        }
        return report(text) ?? translated(text, "error:", errors) ?? verbatim(text)
    }

    /// A finding of the doctor, or its advice, in this language. A text without a translation is quoted.
    func toldFinding(_ text: String) -> String { finding(text) ?? verbatim(text) }

    /// The translation of a finding. The values in a finding may themselves be texts of findings.
    private func finding(_ text: String) -> String? {
        if let text = messages["finding:\(text)"] { return text }
        guard let (translation, values) = findings.match(text) else { return nil }
        return filled(translation, values) { value, form in finding(value) ?? (form == nil ? named(value) : verbatim(value)) }
    }

    /// A text from elsewhere as a quotation, such as a mail server's answer. A single word, such as a name or a code, is data and
    /// has no quotation marks.
    func verbatim(_ text: String) -> String {
        guard text.contains(where: \.isWhitespace) else { return text }
        let isReply = text.wholeMatch(of: /[2-5]\d\d[ -].*/.dotMatchesNewlines()) != nil
        return self.text(isReply ? "serverAnswered" : "verbatim", ["text": text])
    }

    /// The translation of a report. The values in a report may themselves be reports and errors. If the translation has
    /// `{1:said}`, a value without a translation is quoted there.
    private func report(_ text: String) -> String? {
        if let text = messages["report:\(text)"] { return text }
        guard let (translation, values) = reports.match(text) else { return nil }
        return filled(translation, values) { value, form in
            report(value) ?? translated(value, "error:", errors) ?? (form == nil ? named(value) : verbatim(value))
        }
    }

    /// A report without the note that the mailbox is disabled; nil if it has no such note.
    static func cause(_ report: String) -> String? {
        let note = " \(MailboxLeases.disabledNote)"
        return report.hasSuffix(note) ? String(report.dropLast(note.count)) : nil
    }

    /// The subject of a request for approval, in this language if it is translated; otherwise the original.
    func subject(_ text: String) -> String { translated(text, "subject:", subjects) ?? text }

    private func translated(_ message: String, _ prefix: String, _ patterns: MessagePatterns) -> String? {
        if let text = messages["\(prefix)\(message)"] { return text }
        return patterns.match(message).map { filled($0.translation, $0.values.mapValues(named)) }
    }

    /// The readable form of a role, an entity, an attribute, a moment or the subject of a request for approval.
    private func named(_ value: String) -> String {
        // Some messages have an article before an entity's name.
        for article in ["a ", "an "] where value.hasPrefix(article) {
            if let entity = optional("entity:\(value.dropFirst(article.count))") { return entity }
        }
        return optional("role:\(value)") ?? optional("entity:\(value)") ?? optional("attribute:\(value)")
            ?? optional("word:\(value)") ?? translated(value, "subject:", subjects) ?? ISO8601.date(value).map(moment) ?? value
    }
}
