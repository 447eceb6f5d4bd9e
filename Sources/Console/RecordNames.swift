import Foundation
import JSON
import Model
import Records
import Tenancy

/// The names of records, read by id for a whole page at once, as far as the person may read them.
struct RecordNames {
    private var names: [UUID: String] = [:]

    /// - Parameter references: Ids by logical names of entities.
    init(_ references: [String: Set<UUID>], _ session: Session) async throws {
        for (name, ids) in references where !ids.isEmpty {
            guard let entity = EntityCatalog.entity(name), Navigation.mayList(entity, session.caller.roles) else { continue }
            if entity.logicalName == EntityDefinition.userSettings.logicalName {
                try await read(.systemUser, ids, session)
            } else {
                try await read(entity, ids, session)
            }
        }
    }

    private mutating func read(_ entity: EntityDefinition, _ ids: Set<UUID>, _ session: Session) async throws {
        guard let primary = entity.primaryName else { return }
        for part in Array(ids).parts(of: 500) {
            var query = RecordQuery()
            query.outputs = [.init(.column(.init(primary)))]
            query.filter = .isIn(.init(entity.primaryID), part.map { .text($0.text) })
            query.pageSize = part.count
            for record in try await session.list(entity, query).records {
                if case .text(let text) = try record.value(of: primary), !text.isEmpty { names[record.id] = text }
            }
        }
    }

    subscript(_ id: UUID) -> String? { names[id] }
}

extension Array {
    fileprivate func parts(of size: Int) -> [[Element]] {
        stride(from: 0, to: count, by: size).map { Array(self[$0..<Swift.min($0 + size, count)]) }
    }
}

/// A reference to a record in a text, such as `mailbox(ID).password` or `emailserverprofile ID`.
struct RecordMention {
    let entity: EntityDefinition
    let id: UUID
    /// The attribute after it, if there is one.
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

extension UInt8 {
    fileprivate var isWord: Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self)
            || self == UInt8(ascii: "-") || self == UInt8(ascii: "_")
    }
}
