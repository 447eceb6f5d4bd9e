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

    /// The first record in a text.
    init?(in text: String) {
        let characters = Array(text.utf8)
        guard characters.count >= 36 else { return nil }
        for start in 0...(characters.count - 36) {
            guard start > 0, characters[start + 8] == UInt8(ascii: "-"),
                characters[start - 1] == UInt8(ascii: "(") || characters[start - 1] == UInt8(ascii: " "),
                let id = UUID(text: String(decoding: characters[start..<start + 36], as: UTF8.self))
            else { continue }
            let word = String(decoding: characters[..<(start - 1)].reversed().prefix { $0.isWord }.reversed(), as: UTF8.self)
            guard let entity = EntityCatalog.entity(word == "e-mail" ? "email" : word) else { continue }
            self.entity = entity
            self.id = id
            let rest = characters[(start + 36)...]
            let behind =
                rest.starts(with: Array(").".utf8)) ? String(decoding: rest.dropFirst(2).prefix { $0.isWord }, as: UTF8.self) : ""
            attribute = behind.isEmpty ? nil : behind
            return
        }
        return nil
    }
}
