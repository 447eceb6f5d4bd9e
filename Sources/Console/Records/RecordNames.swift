import Foundation
import JSON
import Model
import Records
import Tenancy

/// The names of records, read by id for a whole page at once, as far as the person may read them.
struct RecordNames {
    private var names: [UUID: String] = [:]
    /// References to records that do not exist, if the person may read all records of that kind.
    private(set) var missing: Set<UUID> = []
    private var found: Set<UUID> = []
    /// The ids of users. Clients are users too: the stored name of a client begins with a number sign.
    private var users: Set<UUID> = []
    /// The names that deleted records had.
    private var former: [UUID: String] = [:]

    /// - Parameter references: Ids by logical names of entities.
    init(_ references: [String: Set<UUID>], _ session: Session) async throws {
        var unsure: Set<UUID> = []
        for (name, ids) in references where !ids.isEmpty {
            guard let entity = EntityCatalog.entity(name), Navigation.mayList(entity, session.caller.roles) else {
                unsure.formUnion(ids)
                continue
            }
            missing.formUnion(ids)
            if PrivilegeTable.depth(of: .retrieveMultiple, on: entity, for: session.caller.roles) != .organization {
                unsure.formUnion(ids)
            }
            if entity.logicalName == EntityDefinition.userSettings.logicalName {
                try await read(.systemUser, ids, session)
            } else {
                try await read(entity, ids, session)
            }
        }
        missing = missing.subtracting(unsure).subtracting(found)
    }

    private mutating func read(_ entity: EntityDefinition, _ ids: Set<UUID>, _ session: Session) async throws {
        guard let primary = entity.primaryName else { return }
        for part in Array(ids).parts(of: 500) {
            var query = RecordQuery()
            query.outputs = [.init(.column(.init(primary)))]
            query.filter = .isIn(.init(entity.primaryID), part.map { .text($0.text) })
            query.pageSize = part.count
            for record in try await session.list(entity, query).records {
                found.insert(record.id)
                if entity.logicalName == "systemuser" { users.insert(record.id) }
                if case .text(let text) = try record.value(of: primary), !text.isEmpty { names[record.id] = text }
            }
        }
    }

    /// A record's name, as it is stored.
    subscript(_ id: UUID) -> String? { names[id] }

    /// A record's name for people. A client's name is shown without the number sign.
    func named(_ id: UUID, _ texts: Texts) -> String? {
        names[id].map { users.contains(id) ? ActorName.shown(systemUser: $0, texts) : $0 }
    }

    /// What to show for a record: its name, that it was deleted, or its id.
    func shown(_ id: UUID, _ texts: Texts) -> String {
        named(id, texts) ?? (missing.contains(id) ? texts["deletedRecord"] : id.text)
    }

    mutating func addFormer(_ names: [UUID: String]) { former.merge(names) { _, new in new } }

    /// What to show for a record that may have been deleted since: its name; the name that it had, or else the beginning of its
    /// id, with the note that it was deleted; or its id.
    func shownLater(_ id: UUID, _ texts: Texts) -> String {
        guard missing.contains(id) else { return named(id, texts) ?? id.text }
        return former[id].map { "\($0) \(texts["deletedRecord"])" } ?? "\(texts["deletedRecord"]) \(id.text.prefix(8))…"
    }

    /// Whether the person can read the record, or could if it existed.
    func isKnown(_ id: UUID) -> Bool { found.contains(id) || missing.contains(id) }

    /// Names records by the texts with which lookups offer them, so that two records with the same name differ.
    mutating func tellApart(_ offers: some Sequence<RecordOffer>) {
        for offer in offers where names[offer.id] != nil { names[offer.id] = offer.text }
    }
}

extension Array {
    fileprivate func parts(of size: Int) -> [[Element]] {
        stride(from: 0, to: count, by: size).map { Array(self[$0..<Swift.min($0 + size, count)]) }
    }
}

extension UInt8 {
    var isWord: Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self)
            || self == UInt8(ascii: "-") || self == UInt8(ascii: "_")
    }
}
