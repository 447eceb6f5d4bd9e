import Foundation
import HTTPTypes
import JSON
import Model
import Records
import Tenancy

// One record: its form, its deletion, and read-only records.
extension Console {
    @Sendable func form(_ visit: Visit) async throws -> PageResponse {
        let entity = try entity(visit)
        if visit.parameter("id") == "new" {
            guard !Navigation.isShownOnly(entity) else { throw FieldsealError.noSuchRecord(entity) }
            try Self.require(.create, entity, visit)
            return .page("form", try await recordForm(visit, entity, nil).values())
        }
        let (record, secrets) = try await read(visit, entity)
        switch entity.logicalName {
        case "email": return try await Self.inBackground { try await emailPage(visit, record) }
        case "tracelog": return try await alertPage(visit, record)
        default: return try await recordPage(visit, entity, record, secrets)
        }
    }

    /// The page of a record with a form.
    func recordPage(
        _ visit: Visit, _ entity: EntityDefinition, _ record: Record, _ secrets: [String: String]
    ) async throws -> PageResponse {
        var values = try await recordForm(visit, entity, record, secrets: secrets).values()
        values["shared"] = try await owningTeam(entity, record, visit)
        let isTested: Bool = try entity.logicalName == "mailbox" && MailboxState(record) != .testing
        if entity.logicalName == "mailbox" {
            values["status"] = try await mailboxStatus(visit, record, hasPassword: !secrets.isEmpty)
        }
        if entity.logicalName == "mailbox" { values["notice"] = orFalse(try await passwordNotice(record, visit)) }
        if entity.logicalName == EntityDefinition.userSettings.logicalName, let own = try await mailbox(ofUser: record.id, visit) {
            let link = ["text": visit.text("linkMailbox"), "href": "\(visit.root)/records/mailboxes/\(own.id.text)"]
            values["links"] = [link] + (values["links"] as? [[String: Any]] ?? [])
        }
        if entity.logicalName == EntityDefinition.userSettings.logicalName, visit.isAdministrator {
            let links = values["links"] as? [[String: Any]] ?? []
            values["links"] = links + [try await signInLink(of: record.id, visit)]
            values["userWithoutSignIn"] = try await userWithoutSignIn(record.id, visit)
        }
        if let done = visit.query("done"),
            [
                "saved", "nothingChanged", "testing", "approved", "disabledDone", "enabledDone", "team-add", "team-remove",
                "team-make", "user-without-sign-in-disable", "user-without-sign-in-enable", "user-without-sign-in-hand-over",
            ].contains(done),
            !(done == "testing" && isTested)
        {
            values["notice"] = visit.text(done)
        }
        return .page("form", values)
    }

    /// A record, and the marks of its passwords.
    func read(_ visit: Visit, _ entity: EntityDefinition) async throws -> (Record, [String: String]) {
        guard let id = visit.parameter("id").flatMap(UUID.init(text:)) else { throw FieldsealError.noSuchRecord(entity) }
        return try await read(entity, id, visit)
    }

    func read(_ entity: EntityDefinition, _ id: UUID, _ visit: Visit) async throws -> (Record, [String: String]) {
        let session = try visit.session()
        let page = try await session.retrieve(entity, .id(id))
        guard let record = page.records.first else { throw FieldsealError.noSuchRecord(entity) }
        return (record, try await session.secretMarks(entity, id))
    }

    /// The form of a record with the data for its lookups.
    func recordForm(
        _ visit: Visit, _ entity: EntityDefinition, _ record: Record?, secrets: [String: String] = [:]
    ) async throws -> RecordForm {
        let session = try visit.session()
        var references: [String: Set<UUID>] = [:]
        var offers: [String: [RecordOffer]] = [:]
        for attribute in RecordForm.fields(entity, for: record == nil ? .create : .update, visit.roles)
        where attribute.type.isReference {
            if case .id(let id)? = try record?.value(of: attribute.logicalName) {
                for target in attribute.type.targets { references[target, default: []].insert(id) }
            }
            for target in Self.targets(attribute) {
                offers[attribute.logicalName, default: []] += try await self.offers(target, matching: nil, visit)
            }
        }
        if let owner = RecordForm.shownOwner(entity, visit.roles), case .id(let id)? = try record?.value(of: owner.logicalName) {
            for target in owner.type.targets { references[target, default: []].insert(id) }
        }
        if entity.logicalName == "usersettings", let record { references["systemuser", default: []].insert(record.id) }
        var names = try await RecordNames(references, session)
        names.tellApart(offers.values.joined())
        return RecordForm(
            visit: visit, entity: entity, record: record, secrets: secrets, names: names,
            offers: offers.mapValues { $0.map(\.text) })
    }

    /// An alert: what happened, where, and the next step.
    private func alertPage(_ visit: Visit, _ record: Record) async throws -> PageResponse {
        let entity = EntityDefinition.traceLog
        func text(_ name: String) throws -> String { if case .text(let text) = try record.value(of: name) { text } else { "" } }
        var references: [String: Set<UUID>] = [:]
        var about: (EntityDefinition, UUID)?
        if case .id(let id) = try record.value(of: "regardingobjectid"),
            let target = EntityCatalog.entity(try text("regardingobjecttypecode"))
        {
            references[target.logicalName] = [id]
            about = (target, id)
        }
        let names = try await RecordNames(references, try visit.session())
        let details = try text("errordetails")
        let sentences = DetailSentences(texts: visit.texts, names: nil)
        var values: [String: Any] = [
            "title": visit.text("entity:tracelog"), "set": entity.entitySetName, "list": visit.text("tracelog"),
            "text": visit.texts.toldReport(try text("text")),
            "details": orFalse(details.isEmpty ? nil : sentences.toldOrQuoted(details, of: "")),
            "action": "\(visit.root)/records/\(entity.entitySetName)/\(record.id.text)",
            "mayDelete": Self.may(.delete, entity, visit), "about": false, "solved": false,
            "email": orFalse(try await emailPage(namedIn: details, visit)),
        ]
        if case .int(let level) = try record.value(of: "level"), let attribute = entity["level"] {
            values["level"] = [
                "style": level == 3 ? "bad" : level == 2 ? "warn" : "", "text": visit.texts.option(level, of: attribute),
            ]
        }
        if try await SolvedAlerts.read([record], try visit.session()).contains(record) {
            values["level"] = ["style": "good", "text": visit.text("alertSolved")]
            values["solved"] = visit.text("alertSolvedWhy")
        }
        if case .date(let date) = try record.value(of: "createdon") { values["createdOn"] = visit.texts.time(date) }
        if case .date(let date) = try record.value(of: "modifiedon") { values["modifiedOn"] = visit.texts.time(date) }
        if let (target, id) = about {
            values["about"] = [
                "entity": visit.text("entity:\(target.logicalName)"), "name": names.shown(id, visit.texts),
                "href": "\(visit.root)/records/\(target.entitySetName)/\(id.text)",
            ]
        }
        return .page("alert", values)
    }

    /// The page of the e-mail that an alert's details name (`e-mail ID, attempt 1`); nil if the details name no e-mail that the
    /// person may read.
    private func emailPage(namedIn details: String, _ visit: Visit) async throws -> String? {
        guard details.hasPrefix("e-mail "), let id = UUID(text: String(details.dropFirst(7).prefix(36))),
            Navigation.mayList(.email, visit.roles)
        else { return nil }
        var query = RecordQuery()
        query.outputs = [.init(.column(.init("activityid")))]
        query.filter = .compare(.init("activityid"), .equal, .text(id.text))
        query.pageSize = 1
        let isThere = try await !visit.session().list(.email, query).records.isEmpty
        return isThere ? "\(visit.root)/records/emails/\(id.text)" : nil
    }

    // MARK: Deleting

    @Sendable func confirmDeletion(_ visit: Visit) async throws -> PageResponse {
        let entity = try entity(visit)
        let (record, _) = try await read(visit, entity)
        try Self.require(.delete, entity, visit)
        var name = visit.text("unnamed")
        if let primary = entity.primaryName, case .text(let text) = try record.value(of: primary), !text.isEmpty { name = text }
        let path = "\(visit.root)/records/\(entity.entitySetName)/\(record.id.text)"
        let what = visit.text("entity:\(entity.logicalName)")
        return .page(
            "confirm",
            [
                "title": visit.text("deleteTitle", ["entity": what, "name": name]),
                "text": try await deletionWarning(entity, record, visit), "action": "\(path)/delete",
                "fields": [["name": "version", "value": "\(record.versionNumber)"]], "button": visit.text("deleteNow"),
                "back": path,
            ])
    }

    /// The warning before a deletion: what else ends with the record, and what is kept. For example, mailboxes that use a deleted
    /// server profile get and send no more mail.
    private func deletionWarning(_ entity: EntityDefinition, _ record: Record, _ visit: Visit) async throws -> String {
        if entity.logicalName == EntityDefinition.emailServerProfile.logicalName {
            var query = RecordQuery()
            query.outputs = [.init(.column(.init("mailboxid")))]
            query.filter = .compare(.init("emailserverprofile"), .equal, .text(record.id.text))
            query.countsRows = true
            query.pageSize = 1
            let count = try await visit.session().list(.mailbox, query).count ?? 0
            if count > 0 { return visit.texts.count("deleteProfileWhy", count) }
        }
        let kinds = [EntityDefinition.mailbox, .queue].map(\.logicalName)
        if kinds.contains(entity.logicalName) { return visit.text("deleteWhy:\(entity.logicalName)") }
        return visit.text(entity.encryptedAttributes.isEmpty ? "deleteWhyPlain" : "deleteWhy")
    }

    @Sendable func delete(_ visit: Visit) async throws -> PageResponse {
        let entity = try entity(visit)
        guard let id = visit.parameter("id").flatMap(UUID.init(text:)) else { throw FieldsealError.noSuchRecord(entity) }
        let version = Int64(visit.form["version"] ?? "") ?? 0
        try await visit.session().write(.delete(entity, .id(id), .version(version)))
        return .redirect("\(visit.root)/records/\(entity.entitySetName)?done=deleted")
    }
}
