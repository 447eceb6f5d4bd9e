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

    /// Whether a router fetches or sends a mailbox's mail.
    private static let isUsed = Filter.all([
        .compare(.init("statecode"), .equal, .number("0")),
        .compare(.init("emailrouteraccessapproval"), .equal, .number("\(RouterApproval.approved.rawValue)")),
        .any([
            .compare(.init("enabledforincomingemail"), .equal, .bool(true)),
            .compare(.init("enabledforoutgoingemail"), .equal, .bool(true)),
        ]),
    ])
    /// The records of one kind that are handed over at once.
    private static let handedOver = 500

    /// The lines about a person's records and the key. Each may have a link.
    func belongings(_ entry: PeopleAdministration.Entry, _ visit: Visit) async throws -> [String: Any] {
        var lines: [[String: Any]] = []
        func line(_ text: String, _ link: String? = nil, _ href: String = "", isWarning: Bool = false) {
            lines.append([
                "text": text, "link": orFalse(link), "href": "\(visit.root)/\(href)", "style": isWarning ? "warn" : "",
            ])
        }
        var owned = 0
        for entity in Self.ownedWithPasswords {
            let found = try await records(entity, of: entry.systemUserID, visit)
            guard found.count > 0 else { continue }
            owned += found.count
            let text = visit.texts.count("owned:\(entity.logicalName)", found.count)
            let sealed = try await sealed(entity, found.ids, visit)
            let more: String = sealed == 0 ? "." : " \(visit.texts.count("ownedWithPassword", sealed))"
            line("\(text)\(more)", visit.text("showThem"), "records/\(entity.entitySetName)?owner=\(entry.systemUserID.text)")
        }
        let going = try await records(.mailbox, of: entry.systemUserID, where: Self.isUsed, visit).count
        if going > 0 { line(visit.texts.count("ownedGoOn", going)) }
        let settings = try await records(.userSettings, of: entry.systemUserID, visit).ids
        if try await sealed(.userSettings, settings, visit) > 0 {
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

    /// The records of a person: their number, and the ids of those that are handed over at once.
    private func records(
        _ entity: EntityDefinition, of owner: UUID, where condition: Filter? = nil, _ visit: Visit
    ) async throws -> (count: Int, ids: [UUID]) {
        var query = RecordQuery()
        query.outputs = [.init(.column(.init(entity.primaryID)))]
        query.countsRows = true
        query.pageSize = Self.handedOver
        let isTheirs = Filter.compare(.init(entity.isUserOwned ? "ownerid" : entity.primaryID), .equal, .text(owner.text))
        query.filter = .all([isTheirs] + (condition.map { [$0] } ?? []))
        let found = try await visit.session().list(entity, query)
        return (found.count ?? found.records.count, found.records.map(\.id))
    }

    /// How many of some records have a stored password.
    private func sealed(_ entity: EntityDefinition, _ ids: [UUID], _ visit: Visit) async throws -> Int {
        var count = 0
        for id in ids where try await !visit.session().secretsSet(entity, id).isEmpty { count += 1 }
        return count
    }

    /// When a person last saw the key that is in use; nil if they have not.
    private func keySeen(by entry: PeopleAdministration.Entry, _ visit: Visit) async throws -> Date? {
        let session = try visit.session()
        var filter = EventFilter()
        filter.kinds = [SecurityEvent.Kind.keyRead, .keyActivated].map(\.rawValue)
        filter.outcome = SecurityEvent.Outcome.succeeded.rawValue
        filter.actor = "user:\(entry.name)"
        filter.from = try await KeyAdministration(session, to: .see).encryptionStatus().setOn
        return try await EventReading(session).events(filter, limit: 1).first.map {
            Date(timeIntervalSince1970: Double($0.microseconds) / 1_000_000)
        }
    }

    // MARK: Handing over

    /// The people to whom records can be handed over.
    func heirs(of entry: PeopleAdministration.Entry, _ visit: Visit) async throws -> [[String: Any]] {
        let people = try await PeopleAdministration(visit.session()).list()
        let others = people.filter { $0.id != entry.id && $0.disabledOn == nil && $0.isAuthentic }
        return Self.options([("", visit.text("choosePerson"))] + others.map { ($0.id.text, $0.name) }, chosen: nil)
    }

    /// The records with passwords of a person, as many as are handed over at once.
    func handedOver(of entry: PeopleAdministration.Entry, _ visit: Visit) async throws -> [(entity: EntityDefinition, id: UUID)] {
        var all: [(entity: EntityDefinition, id: UUID)] = []
        for entity in Self.ownedWithPasswords {
            all += try await records(entity, of: entry.systemUserID, visit).ids.map { (entity, $0) }
        }
        return all
    }

    /// Gives the records with passwords to another person.
    func handOver(from entry: PeopleAdministration.Entry, _ visit: Visit) async throws -> PageResponse {
        let session = try visit.session()
        let heir = try await self.entry(visit.form["to"] ?? "", visit)
        var (moved, failed) = (0, 0)
        let owner = JSONValue.Member("ownerid@odata.bind", .string("/systemusers(\(heir.systemUserID.text))"))
        for (entity, id) in try await handedOver(of: entry, visit) {
            do {
                try await session.write(.upsert(entity, .id(id), [owner], .mustExist))
                moved += 1
            } catch let error as FieldsealError where error.code.httpStatus < 500 {
                failed += 1
            }
        }
        return .redirect("\(visit.root)/access/people/\(entry.id.text)?done=hand-over-user&n=\(moved)&failed=\(failed)")
    }
}
