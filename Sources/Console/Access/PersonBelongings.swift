import Authentication
import Foundation
import HTTPTypes
import JSON
import KeyManagement
import Model
import Records
import Tenancy

// What belongs to a person who may leave: records with passwords, and whether the person has seen the key.
extension Console {
    /// The records with passwords that have an owner.
    static let ownedWithPasswords: [EntityDefinition] = [.mailbox, .queue, .emailServerProfile]
    static func isOwnedWithPasswords(_ entity: EntityDefinition) -> Bool {
        ownedWithPasswords.contains { $0.logicalName == entity.logicalName }
    }

    /// The condition that a router fetches or sends a mailbox's mail.
    private static let isUsed = Filter.all([
        .compare(.init("statecode"), .equal, .number("0")),
        .compare(.init("emailrouteraccessapproval"), .equal, .number("\(RouterApproval.approved.rawValue)")),
        .any([
            .compare(.init("enabledforincomingemail"), .equal, .bool(true)),
            .compare(.init("enabledforoutgoingemail"), .equal, .bool(true)),
        ]),
    ])
    /// How many records of one kind are handed over at once.
    private static let handedOver = 500

    /// The owner of the records: a person, or a user without a sign-in.
    struct Holder {
        let user: UUID
        let name: String
        /// Whether the owner signs in to the console, where keys are shown.
        let signsIn: Bool

        init(user: UUID, name: String, signsIn: Bool = false) {
            self.user = user
            self.name = name
            self.signsIn = signsIn
        }

        init(_ entry: PeopleAdministration.Entry) { self.init(user: entry.systemUserID, name: entry.name, signsIn: true) }
    }

    func belongings(
        _ entry: PeopleAdministration.Entry, handOver page: String? = nil, _ visit: Visit
    ) async throws -> [String: Any] {
        try await belongings(Holder(entry), handOver: page, visit)
    }

    /// The lines about a person's records and the key. Each line may have a link.
    ///
    /// - Parameter page: The page on which the records are handed over; nil on that page itself.
    func belongings(_ holder: Holder, handOver page: String? = nil, _ visit: Visit) async throws -> [String: Any] {
        var lines: [[String: Any]] = []
        func line(_ text: String, _ link: String? = nil, _ href: String = "", isWarning: Bool = false) {
            lines.append([
                "text": text, "link": orFalse(link), "href": "\(visit.root)/\(href)", "style": isWarning ? "warn" : "",
            ])
        }
        var owned = 0
        for entity in Self.ownedWithPasswords {
            let found = try await records(entity, of: holder.user, visit)
            guard found.count > 0 else { continue }
            owned += found.count
            let text = visit.texts.count("owned:\(entity.logicalName)", found.count)
            let sealed = try await sealed(entity, found.ids, visit)
            let more: String = sealed == 0 ? "." : " \(visit.texts.count("ownedWithPassword", sealed))"
            line("\(text)\(more)", visit.text("showThem"), "records/\(entity.entitySetName)?owner=\(holder.user.text)")
        }
        let going = try await records(.mailbox, of: holder.user, where: Self.isUsed, visit).count
        if going > 0 { line(visit.texts.count("ownedGoOn", going), page.map { _ in visit.text("handOver") }, page ?? "") }
        let settings = try await records(.userSettings, of: holder.user, visit).ids
        if try await sealed(.userSettings, settings, visit) > 0 {
            line(visit.text("ownedSettings"), visit.text("showThem"), "records/usersettingscollection/\(holder.user.text)")
        }
        if lines.isEmpty { line(visit.text("ownsNothing")) }
        let emails = try await records(.email, of: holder.user, visit).count
        if emails > 0 { line(visit.texts.count("ownedEmails", emails)) }
        if holder.signsIn, let seen = try await keySeen(by: holder.name, visit) {
            let when = ["name": holder.name, "day": visit.texts.day(seen)]
            line(visit.text("keySeen", when), visit.text("changeKey"), "settings/data-encryption/change", isWarning: true)
        } else if holder.signsIn {
            line(visit.text("keyNotSeen"))
        }
        return ["belongings": lines, "ownsRecords": owned > 0]
    }

    /// The records of a person: how many there are, and the ids of the records that are handed over at once.
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

    /// How many of the given records have a stored password.
    private func sealed(_ entity: EntityDefinition, _ ids: [UUID], _ visit: Visit) async throws -> Int {
        var count = 0
        for id in ids where try await !visit.session().secretsSet(entity, id).isEmpty { count += 1 }
        return count
    }

    /// When a person last saw the key that is in use; nil if they have not.
    private func keySeen(by name: String, _ visit: Visit) async throws -> Date? {
        let session = try visit.session()
        var filter = EventFilter()
        filter.kinds = [SecurityEvent.Kind.keyRead, .keyActivated].map(\.rawValue)
        filter.outcome = SecurityEvent.Outcome.succeeded.rawValue
        filter.actor = "user:\(name)"
        filter.from = try await KeyAdministration(session, to: .see).encryptionStatus().setOn
        return try await EventReading(session).events(filter, limit: 1).first?.occurredOn
    }

    // MARK: Handing over

    /// The new owner of records that are handed over.
    struct Heir {
        let name: String
        /// A user or a team.
        let owner: (set: String, id: UUID)
    }

    /// How many users without a sign-in, and how many teams, are offered.
    private static let offeredHeirs = 200
    /// The prefixes of the ids of users and teams in the form. The id of a person has no prefix.
    private static let heirUser = "user:"
    private static let heirTeam = "team:"

    /// The people, other users and teams to whom records can be handed over.
    func heirs(besides holder: Holder, _ visit: Visit) async throws -> [[String: Any]] {
        let session = try visit.session()
        let administration = try PeopleAdministration(session)
        let people = try await administration.list().filter {
            $0.systemUserID != holder.user && $0.disabledOn == nil && $0.isAuthentic
        }
        let others = try await administration.free(limit: Self.offeredHeirs).filter { $0.id != holder.user }
        let teams = try await RecordOffer.read(.team, where: nil, limit: Self.offeredHeirs, session, visit.texts)
        var options = [("", visit.text("choosePerson"))] + people.map { ($0.id.text, $0.name) }
        options += others.map { user in
            let name: String = user.detail.isEmpty ? user.name : "\(user.name)\(RecordOffer.separator)\(user.detail)"
            return (Self.heirUser + user.id.text, "\(name) (\(visit.text("withoutSignIn")))")
        }
        options += teams.map { (Self.heirTeam + $0.id.text, visit.texts.labelled(visit.text("entity:team"), $0.text)) }
        return Self.options(options, chosen: visit.query(Self.heirParameter))
    }

    /// The parameter of a page with the heir that was chosen before *Cancel*.
    static let heirParameter = "to"

    /// The new owner that a form names.
    func heir(_ visit: Visit) async throws -> Heir {
        let (session, chosen) = (try visit.session(), visit.form["to"] ?? "")
        if let id = Self.id(in: chosen, after: Self.heirTeam) {
            let names = try await RecordNames(["team": [id]], session)
            guard let name = names[id] else { throw FieldsealError.noSuchRecord(.team, id.text) }
            return Heir(name: name, owner: ("teams", id))
        }
        if let id = Self.id(in: chosen, after: Self.heirUser) {
            guard let user = try await PeopleAdministration(session).free(id: id, limit: 1).first else {
                throw FieldsealError.noSuchRecord(.systemUser, id.text)
            }
            return Heir(name: user.name, owner: ("systemusers", id))
        }
        let person = try await entry(chosen, visit)
        return Heir(name: person.name, owner: ("systemusers", person.systemUserID))
    }

    private static func id(in text: String, after prefix: String) -> UUID? {
        text.hasPrefix(prefix) ? UUID(text: String(text.dropFirst(prefix.count))) : nil
    }

    /// The person's records with passwords, up to the number that is handed over at once.
    func handedOver(of holder: Holder, _ visit: Visit) async throws -> [(entity: EntityDefinition, id: UUID)] {
        var all: [(entity: EntityDefinition, id: UUID)] = []
        for entity in Self.ownedWithPasswords {
            all += try await records(entity, of: holder.user, visit).ids.map { (entity, $0) }
        }
        return all
    }

    /// The question before records are handed over; nil after the answer.
    func handOverQuestion(
        _ holder: Holder, _ path: String, _ fields: [String: String], _ back: String, _ visit: Visit
    ) async throws -> PageResponse? {
        let heir = try await heir(visit)
        let names = ["name": holder.name, "heir": heir.name]
        let chosen = visit.form["to"] ?? ""
        let encoded = chosen.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
        let owned = try await handedOver(of: holder, visit).map { "\($0.entity.logicalName) \($0.id.text)" }
        return try unanswered(
            ("handOverTitle", "handOverWhy", "handOver"), names, path, fields.merging(["to": chosen]) { $1 },
            "\(back)?\(Self.heirParameter)=\(encoded)#hand-over", about: [holder.user.text, heir.owner.id.text] + owned.sorted(),
            visit,
            [
                "lines": [visit.text("handOverWayBack", names)],
                "linksTitle": visit.text("belongsToPerson", names),
                "links": try await belongings(holder, visit)["belongings"] ?? false,
            ])
    }

    /// Gives the records with passwords to another person, user or team, and records a security event.
    func handOver(from holder: Holder, _ visit: Visit) async throws -> (moved: Int, failed: Int) {
        let session = try visit.session()
        let heir = try await heir(visit)
        var (moved, failed) = (0, 0)
        let owner = JSONValue.Member("ownerid@odata.bind", .string("/\(heir.owner.set)(\(heir.owner.id.text))"))
        for (entity, id) in try await handedOver(of: holder, visit) {
            do {
                try await session.write(.upsert(entity, .id(id), [owner], .mustExist))
                moved += 1
            } catch let error as FieldsealError where error.code.httpStatus < 500 {
                failed += 1
            }
        }
        if moved > 0 {
            let details = "\(holder.name): \(moved)\(EventDetails.handedOver)\(heir.name)"
            try await session.record(SecurityEvent(.userChanged, .succeeded, details: details))
        }
        return (moved, failed)
    }
}
