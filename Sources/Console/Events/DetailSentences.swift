import Foundation
import JSON
import Model

/// Sentences in the reader's language for the details of security events and alerts, which are stored in English.
///
/// The message files have a pattern for each text, such as `fact:key changed/{1} cells`: the kind of the event, then the text. A
/// pattern that several kinds share begins with the slash. In a translation, `{1:record}` names the form in which a value is
/// shown.
struct DetailSentences {
    let texts: Texts
    /// The names of the records in the details; nil to show ids.
    let names: RecordNames?

    /// The translation of details of a kind of event; nil if there is none.
    func told(_ details: String, of kind: String) -> String? {
        let parts = details.components(separatedBy: "; ")
        let told = parts.count > 1 ? parts.map { sentence("\(kind)/\($0)") } : []
        // A pattern for the beginning would take the other parts for a value.
        if !told.isEmpty, !told.contains(nil) { return told.compactMap(\.self).joined(separator: "; ") }
        if let sentence = sentence("\(kind)/\(details)") ?? sentence("/\(details)") { return sentence }
        guard told.contains(where: { $0 != nil }) else { return nil }
        return zip(parts, told).map { $1 ?? texts.verbatim($0) }.joined(separator: "; ")
    }

    /// The same, but a text without a translation is quoted.
    func toldOrQuoted(_ details: String, of kind: String) -> String { told(details, of: kind) ?? reason(details) }

    private func sentence(_ text: String) -> String? {
        if let known = texts.messages["fact:\(text)"] { return known }
        guard let (translation, values) = texts.facts.match(text) else { return nil }
        return texts.filled(translation, values) { value, form in form.map { shown(value, as: $0, values) } ?? value }
    }

    /// A value in one of the forms that a translation may name.
    private func shown(_ value: String, as form: String, _ values: [String: String]) -> String {
        switch form {
        case "record": record(value)
        case "entity": texts.optional("entity:\(value)") ?? texts.optional("word:\(value)") ?? value
        case "attributes": value.components(separatedBy: ", ").map(attribute).joined(separator: ", ")
        case "role": value.components(separatedBy: ", ").map { texts.optional("role:\($0)") ?? $0 }.joined(separator: ", ")
        case "actor": ActorName.shown(value, texts)
        case "subject": texts.subject(value)
        case "direction": texts.optional("direction:\(value)") ?? value
        case "time": ISO8601.date(value).map(texts.moment) ?? value
        case "details": toldOrQuoted(value, of: values["1"] ?? "")
        case "reason": reason(value)
        case "more": more(value)
        case "values": Int(value.filter(\.isNumber)).map { texts.count("values", $0) } ?? value
        case "doubts":
            value.components(separatedBy: "; ").map { sentence("doubt/\($0)") ?? texts.verbatim($0) }.joined(separator: "; ")
        // The form is the prefix of the keys of a list of words, such as `phase`, `purpose`, `event`, `outcome`.
        default: texts.optional("\(form):\(value)") ?? value
        }
    }

    /// Why something was refused or failed.
    private func reason(_ text: String) -> String {
        let words = text.split(separator: " ")
        if words.count == 2, words[1] == "credentials", let count = Int(words[0]) {
            return texts.count("credentialsElsewhere", count)
        }
        return EventDetails.known(text, texts) ?? sentence("/\(text)") ?? texts.toldReport(text)
    }

    /// A list that may end with the number of those that it does not name: `1, 2 and 3 more`.
    private func more(_ text: String) -> String { text.hasSuffix(" more") ? texts.toldReport(text) : text }

    /// A record by its name: `ID`, `mailbox ID` or `mailbox(ID).password`.
    private func record(_ text: String) -> String {
        if let id = UUID(text: text) { return name(id) }
        guard let mention = RecordMention(in: " \(text)") else { return text }
        let shown = "\(texts["entity:\(mention.entity.logicalName)"]) \(name(mention.id))"
        let attribute = mention.attribute.flatMap { mention.entity[$0] }
        return attribute.map { "\(shown) · \(texts.label($0, of: mention.entity))" } ?? shown
    }

    private func name(_ id: UUID) -> String { names?.shownLater(id, texts) ?? id.text }

    /// The label of an attribute of a record with mail settings.
    private func attribute(_ name: String) -> String {
        for entity in [EntityDefinition.mailbox, .emailServerProfile, .queue, .userSettings] {
            if let attribute = entity[name] { return texts.label(attribute, of: entity) }
        }
        return name
    }
}
