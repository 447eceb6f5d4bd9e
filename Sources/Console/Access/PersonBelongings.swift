import Authentication
import Foundation
import HTTPTypes
import JSON
import KeyManagement
import Model
import Records
import Tenancy

// What belongs to a person, for the day when they leave: records with passwords, and whether they have seen the key.
extension Console {
    /// The records with passwords that have an owner.
    static let ownedWithPasswords: [EntityDefinition] = [.mailbox, .queue, .emailServerProfile]
    static func isOwnedWithPasswords(_ entity: EntityDefinition) -> Bool {
        ownedWithPasswords.contains { $0.logicalName == entity.logicalName }
    }

    /// The records of one kind that are handed over at once.
    private static let handedOver = 500

    /// The lines about a person's records and the key. Each may have a link.
    func belongings(_ entry: ConsoleUsers.Entry, _ visit: Visit) async throws -> [String: Any] {
        var lines: [[String: Any]] = []
        func line(_ text: String, _ link: String? = nil, _ href: String = "", isWarning: Bool = false) {
            lines.append([
                "text": text, "link": orFalse(link), "href": "\(visit.root)/\(href)", "style": isWarning ? "warn" : "",
            ])
        }
        var owned = 0
        for entity in Self.ownedWithPasswords {
            let count = try await count(entity, of: entry.systemUserID, .all, visit)
            guard count > 0 else { continue }
            owned += count
            let sealed = try await self.count(entity, of: entry.systemUserID, .withPassword, visit)
            let text = visit.texts.count("owned:\(entity.logicalName)", count)
            let more = visit.texts.count("ownedWithPassword", sealed)
            line("\(text) \(more)", visit.text("showThem"), "records/\(entity.entitySetName)?owner=\(entry.systemUserID.text)")
        }
        if try await count(.mailbox, of: entry.systemUserID, .enabled, visit) > 0 { line(visit.text("ownedGoOn")) }
        if try await count(.userSettings, of: entry.systemUserID, .withPassword, visit) > 0 {
            line(visit.text("ownedSettings"), visit.text("showThem"), "records/usersettingscollection/\(entry.systemUserID.text)")
        }
        if lines.isEmpty { line(visit.text("ownsNothing")) }
        if let seen = try await keySeen(by: entry, visit) {
            let when = ["name": entry.name, "day": visit.texts.day(seen)]
            line(visit.text("keySeen", when), visit.text("changeKey"), "settings/data-encryption/change", isWarning: true)
        } else {
            line(visit.text("keyNotSeen"))
        }
        return ["belongings": lines, "ownsRecords": owned > 0]
    }

    /// Which of a person's records are counted.
    private enum Kind { case all, withPassword, enabled }

    private func count(
        _ entity: EntityDefinition, of owner: UUID, _ kind: Kind, _ visit: Visit
    ) async throws -> Int {
        var query = RecordQuery()
        query.outputs = [.init(.column(.init(entity.primaryID)))]
        query.countsRows = true
        query.pageSize = 1
        let column = entity["ownerid"] == nil ? entity.primaryID : "ownerid"
        var conditions: [Filter] = [.compare(.init(column), .equal, .text(owner.text))]
        if kind == .withPassword {
            let flags = entity.setFlags.values.sorted()
            conditions.append(.any(flags.map { Filter.compare(.init($0), .equal, .bool(true)) }))
        }
        if kind == .enabled { conditions.append(.compare(.init("statecode"), .equal, .number("0"))) }
        query.filter = .all(conditions)
        let found = try await visit.session().list(entity, query)
        return found.count ?? found.records.count
    }

    /// When a person last saw the key that is in use; nil if they have not.
    private func keySeen(by entry: ConsoleUsers.Entry, _ visit: Visit) async throws -> Date? {
        let session = try visit.session()
        var filter = EventFilter()
        filter.kinds = [SecurityEvent.Kind.keyRead, .keyActivated].map(\.rawValue)
        filter.outcome = SecurityEvent.Outcome.succeeded.rawValue
        filter.actor = "user:\(entry.name)"
        filter.from = try await KeyAdministration(session, to: .see).encryptionStatus().setOn
        return try await session.securityEvents(filter, limit: 1).first.map {
            Date(timeIntervalSince1970: Double($0.microseconds) / 1_000_000)
        }
    }

    // MARK: Handing over

    /// The people to whom records can be handed over.
    func heirs(of entry: ConsoleUsers.Entry, _ visit: Visit) async throws -> [[String: Any]] {
        let people = try await ConsoleUsers(deployment).list(by: try visit.session())
        let others = people.filter { $0.id != entry.id && $0.disabledOn == nil && $0.isHonoured }
        return Self.options([("", visit.text("choosePerson"))] + others.map { ($0.id.text, $0.name) }, chosen: nil)
    }

    /// Gives the records with passwords to another person.
    func handOver(from entry: ConsoleUsers.Entry, _ visit: Visit) async throws -> Reply {
        let session = try visit.session()
        let heir = try await self.entry(visit.form["to"] ?? "", visit)
        var (moved, failed) = (0, 0)
        for entity in Self.ownedWithPasswords {
            var query = RecordQuery()
            query.outputs = [.init(.column(.init(entity.primaryID)))]
            query.filter = .compare(.init("ownerid"), .equal, .text(entry.systemUserID.text))
            query.pageSize = Self.handedOver
            for record in try await session.list(entity, query).records {
                let owner = JSONValue.Member("ownerid@odata.bind", .string("/systemusers(\(heir.systemUserID.text))"))
                do {
                    try await session.write(.upsert(entity, .id(record.id), [owner], .mustExist))
                    moved += 1
                } catch let error as FieldsealError where error.code.httpStatus < 500 {
                    failed += 1
                }
            }
        }
        return .redirect("\(visit.root)/access/people/\(entry.id.text)?done=hand-over-user&n=\(moved)&failed=\(failed)")
    }
}
