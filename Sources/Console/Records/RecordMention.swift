import Foundation
import JSON
import Model
import Records
import Tenancy

/// A reference to a record in a text, such as `mailbox(ID).password` or `emailserverprofile ID`.
struct RecordMention {
    let entity: EntityDefinition
    let id: UUID
    /// The attribute after the record, if there is one.
    let attribute: String?

    private init(_ entity: EntityDefinition, _ id: UUID, attribute: String? = nil) {
        (self.entity, self.id, self.attribute) = (entity, id, attribute)
    }

    /// The record that an event is about. An event about a disabled or enabled user may have only the user's id.
    init?(of event: RecordedEvent) {
        guard let details = event.details else { return nil }
        let kinds = [SecurityEvent.Kind.systemUserDisabled, .systemUserEnabled].map(\.rawValue)
        if kinds.contains(event.kind), let id = UUID(text: details) {
            self.init(.systemUser, id)
        } else {
            self.init(in: details)
        }
    }

    /// The other records that an event about links names, such as the users of `team ID, systemuser ID, ID`.
    static func linked(by event: RecordedEvent) -> [RecordMention] {
        guard SecurityEvent.Kind.ofLinks.map(\.rawValue).contains(event.kind), let details = event.details else { return [] }
        var (entity, found): (EntityDefinition?, [RecordMention]) = (nil, [])
        for part in details.components(separatedBy: ", ").dropFirst() {
            let words = part.split(separator: " ")
            guard let id = words.last.flatMap({ UUID(text: String($0)) }) else { continue }
            if words.count == 2 { entity = EntityCatalog.entity(String(words[0])) }
            if let entity { found.append(RecordMention(entity, id)) }
        }
        return found
    }

    /// The first record in a text.
    init?(in text: String) {
        guard let first = Self.all(in: text, limit: 1).first else { return nil }
        self = first
    }

    /// The records in a text, in their order.
    ///
    /// - Parameter limit: How many records are returned at most.
    static func all(in text: String, limit: Int = 50) -> [RecordMention] {
        let characters = Array(text.utf8)
        var found: [RecordMention] = []
        guard characters.count > 36 else { return found }
        for start in 1...(characters.count - 36) where found.count < limit {
            guard characters[start + 8] == UInt8(ascii: "-"),
                characters[start - 1] == UInt8(ascii: "(") || characters[start - 1] == UInt8(ascii: " "),
                let id = UUID(text: String(decoding: characters[start..<start + 36], as: UTF8.self))
            else { continue }
            let word = String(decoding: characters[..<(start - 1)].reversed().prefix { $0.isWord }.reversed(), as: UTF8.self)
            guard let entity = EntityCatalog.entity(word == "e-mail" ? "email" : word) else { continue }
            let rest = characters[(start + 36)...]
            let behind =
                rest.starts(with: Array(").".utf8)) ? String(decoding: rest.dropFirst(2).prefix { $0.isWord }, as: UTF8.self) : ""
            found.append(RecordMention(entity, id, attribute: behind.isEmpty ? nil : behind))
        }
        return found
    }
}
