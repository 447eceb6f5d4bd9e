import Authentication
import Foundation
import Model
import Tenancy

/// The details of security events in the reader's language: `ada: sessions ended`, `ada, Basic User`, `read: privilegeDenied`.
enum EventDetails {
    /// All details of an event, with names instead of ids. Details that the console has no words for are quoted.
    static func told(_ event: RecordedEvent, _ names: RecordNames, _ texts: Texts) -> String? {
        guard let details = event.details else { return nil }
        if SecurityEvent.Kind.ofLinks.map(\.rawValue).contains(event.kind), let mention = RecordMention(of: event) {
            let record = "\(texts["entity:\(mention.entity.logicalName)"]) \(names.shownLater(mention.id, texts))"
            return linked(by: event, names, texts).map { texts.labelled(record, $0) } ?? record
        }
        return told(details, of: event.kind, texts, names: names)
    }

    /// The members or roles that an event about a team or a role names beside its first record; nil for other events.
    static func linked(by event: RecordedEvent, _ names: RecordNames, _ texts: Texts) -> String? {
        guard SecurityEvent.Kind.ofLinks.map(\.rawValue).contains(event.kind), let details = event.details else { return nil }
        let linked = RecordMention.linked(by: event).map { names.shownLater($0.id, texts) }
        return linked.isEmpty ? roles(details, texts) : linked.joined(separator: ", ")
    }

    /// Details of a kind of event.
    ///
    /// - Parameter names: The names of the records in the details; nil to show ids.
    static func told(_ details: String, of kind: String, _ texts: Texts, names: RecordNames? = nil) -> String {
        DetailSentences(texts: texts, names: names).told(details, of: kind) ?? shown(details, texts) ?? texts.verbatim(details)
    }

    /// The words between the number of records that were handed over and the name of their new owner.
    static let handedOver = " records handed over to "

    /// Details that consist of names and known words; nil for other details.
    private static func shown(_ details: String, _ texts: Texts) -> String? {
        if let text = handOver(details, texts) { return text }
        let listed = details.components(separatedBy: ", ").map { texts.optional("role:\($0)") }
        if listed.count > 1, !listed.contains(nil) { return listed.compactMap(\.self).joined(separator: ", ") }
        if details.hasSuffix(PeopleAdministration.forExistingUser) {
            let person = String(details.dropLast(PeopleAdministration.forExistingUser.count))
            return "\(shown(person, texts) ?? person), \(texts["detail:existing user"])"
        }
        if let text = known(details, texts) ?? texts.optional("role:\(details)") { return text }
        let words = details.split(separator: " ")
        if words.count == 2, words[1] == "cells", let count = Int(words[0].filter(\.isNumber)) {
            return texts.count("values", count)
        }
        guard let comma = details.range(of: ", ", options: .backwards) ?? details.range(of: ": ", options: .backwards) else {
            return nil
        }
        let (name, rest) = (String(details[..<comma.lowerBound]), String(details[comma.upperBound...]))
        let subject = texts.optional("purpose:\(name)") ?? name
        if let text = texts.optional("role:\(rest)") ?? known(rest, texts) {
            return details[comma].hasPrefix(":") ? texts.labelled(subject, text) : "\(subject)\(details[comma])\(text)"
        }
        let roles = rest.components(separatedBy: " to ").compactMap { texts.optional("role:\($0)") }
        return roles.count == 2 ? "\(name)\(details[comma])\(roles[0]) → \(roles[1])" : nil
    }

    /// Translates `ada: 3 records handed over to bob`.
    private static func handOver(_ details: String, _ texts: Texts) -> String? {
        guard let middle = details.range(of: handedOver),
            let colon = details[..<middle.lowerBound].range(of: ": ", options: .backwards),
            let count = Int(details[colon.upperBound..<middle.lowerBound])
        else { return nil }
        let heir = String(details[middle.upperBound...])
        return texts.labelled(String(details[..<colon.lowerBound]), texts.count("detail:handedOver", count, ["heir": heir]))
    }

    /// The roles that an event about roles names, as in `systemuser ID, role Basic User, Email Administrator`; nil for other details.
    static func roles(_ details: String, _ texts: Texts) -> String? {
        guard let names = details.range(of: ", role ") else { return nil }
        let roles = details[names.upperBound...].components(separatedBy: ", ").map { texts.optional("role:\($0)") ?? $0 }
        return roles.joined(separator: ", ")
    }

    /// The translation of a detail, an error code or a message; nil if there is none.
    static func known(_ text: String, _ texts: Texts) -> String? {
        if let known = texts.optional("detail:\(text)") { return known }
        let code = ErrorCode(rawValue: text) ?? ErrorCode.allCases.first { "\($0)" == text }
        return code.map { texts["refusal:\($0)"] }
    }
}
