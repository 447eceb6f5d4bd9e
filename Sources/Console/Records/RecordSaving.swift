import Foundation
import HTTPTypes
import JSON
import Model
import Records
import Tenancy

// Saves a form. After an error the page shows the form again with all typed values. If another person saved the record
// meanwhile, each field's loaded value, typed value and newly saved value are compared.
extension Console {
    /// The result of a form that was sent.
    enum Saving {
        case saved(UUID, setsPassword: Bool)
        /// Nothing was changed in the form, so nothing was written.
        case unchanged(UUID)
        /// Nothing was saved. The page has the form and the reason.
        case refused(PageResponse)
    }

    @Sendable func save(_ visit: Visit) async throws -> PageResponse {
        let entity = try entity(visit)
        let path = "\(visit.root)/records/\(entity.entitySetName)"
        switch try await saving(entity, visit) {
        case .saved(let id, let setsPassword):
            let isTried: Bool = setsPassword && entity.logicalName == EntityDefinition.mailbox.logicalName
            let own: String = isTried && TypedRecord.chose("allowemailconnectortousecredentials", visit) ? "&own=1" : ""
            return .redirect(
                "\(path)/\(id.text)?done=\(isTried ? try await tryPassword(of: id, visit) : "saved")\(own)\(isTried ? "#\(Self.statusTitle)" : "")"
            )
        case .unchanged(let id): return .redirect("\(path)/\(id.text)?done=nothingChanged")
        case .refused(let page): return page
        }
    }

    /// - Parameter confirms: Whether this save may confirm settings that SQL changed, if a System Administrator sends it.
    func saving(_ entity: EntityDefinition, _ visit: Visit, confirms: Bool = true) async throws -> Saving {
        guard !Navigation.isShownOnly(entity) else { throw FieldsealError.noPage }
        let session = try visit.session()
        let isNew = visit.parameter("id") == "new"
        let current: (Record, [String: String])?
        do {
            current = isNew ? nil : try await read(visit, entity)
        } catch let error as FieldsealError where error.code.httpStatus == 404 && visit.form["loaded"] != nil {
            return .refused(try await deletedMeanwhile(entity, visit))
        }
        var form = try await recordForm(visit, entity, current?.0, secrets: current?.1 ?? [:])
        let secrets = try keptSecrets(entity, current?.0.id, visit)
        let confirms: Bool = confirms ? try await Self.mayConfirm(entity, current?.0.id, session) : false
        var typing = TypedRecord(visit, entity, isNew: isNew, record: current?.0, confirms: confirms)
        guard !typing.isForbidden else { throw FieldsealError.roleForbids(visit.role) }
        typing.readSecrets(secrets)
        await typing.readReferences(dangling: try form.dangling()) { try await lookedUp($0, $1, visit) }
        form.typed = typing.typed
        if !isNew, let version = visit.form["version"], let loaded = visit.form["loaded"] { form.sent = (version, loaded) }
        func keep(_ errors: [String: String]) throws {
            form.errors = errors
            form.kept = try typing.kept(secrets, errors)
        }
        guard typing.errors.isEmpty else {
            try keep(typing.errors)
            return .refused(.page("form", try form.values(), status: .badRequest))
        }
        if let record = current?.0, typing.isUnchanged, !confirms { return .unchanged(record.id) }
        let questions = [
            try await settingsQuestion(entity, current?.0, typing, confirms, visit), try Self.clearQuestion(form, typing),
            try await addressQuestion(entity, current?.0, typing, visit),
        ]
        if let question = FormQuestion.values(questions.compactMap(\.self), visit) {
            if isNew, let id = try await madeAlready(entity, visit) { return .saved(id, setsPassword: typing.setsPassword) }
            try keep([:])
            return .refused(.page("form", try form.values().merging(["question": question]) { _, new in new }))
        }
        do {
            let id = try await write(typing.members, entity, over: current?.0, visit)
            return .saved(id, setsPassword: typing.setsPassword)
        } catch let error as FieldsealError where error.code == .concurrencyVersionMismatch {
            return .refused(try await conflict(visit, entity, typing, secrets))
        } catch let error as FieldsealError where error.code.httpStatus < 500 {
            let field = RecordForm.fields(entity, for: isNew ? .create : .update, visit.roles).first {
                $0.logicalName == error.attribute
            }
            try keep(field.map { [$0.logicalName: visit.texts.told(error.message)] } ?? [:])
            var values = try form.values()
            if field == nil { values["problem"] = visit.texts.told(error.message) }
            return .refused(.page("form", values, status: .init(code: error.code.httpStatus)))
        } catch {
            // The page shows the typed values again, even when the database is unavailable.
            guard let (message, status) = Self.refusal(error) else { throw error }
            try keep([:])
            var values = try form.values()
            values["problem"] = visit.texts.told(message)
            return .refused(.page("form", values, status: status))
        }
    }

    private func keptSecrets(_ entity: EntityDefinition, _ record: UUID?, _ visit: Visit) throws -> KeptSecrets {
        try KeptSecrets(
            deployment.kek, organization: try visit.session().organization.id, form: entity.logicalName, record: record,
            token: visit.token ?? "")
    }

    /// Writes what was typed into a form.
    ///
    /// - Parameter record: The record to change; nil for a new one.
    private func write(
        _ members: [JSONValue.Member], _ entity: EntityDefinition, over record: Record?, _ visit: Visit
    ) async throws -> UUID {
        if let record {
            let version = Int64(visit.form["version"] ?? "") ?? 0
            return try await visit.session().write(.upsert(entity, .id(record.id), members, .version(version))).id
        }
        if Self.makesQueue(entity, visit) { return try await madeWithQueue(members, visit) }
        let own = try FormRecordIDs(visit, deployment.kek)?.id(entity.logicalName)
        return try await made(entity, as: own, members, visit).id
    }

    /// Whether a save confirms the settings that decide where passwords are sent. A save that confirms them writes all of these
    /// settings, also those that were not edited.
    private static func mayConfirm(_ entity: EntityDefinition, _ record: UUID?, _ session: Session) async throws -> Bool {
        guard session.caller.role == .systemAdministrator, let record else { return false }
        return try await !session.isMailDestinationAuthorized(entity, record)
    }

    /// Asks a System Administrator to confirm settings that decide where passwords are sent, if SQL changed them. Nil if SQL
    /// changed no settings.
    private func settingsQuestion(
        _ entity: EntityDefinition, _ record: Record?, _ typing: TypedRecord, _ confirms: Bool, _ visit: Visit
    ) async throws -> FormQuestion? {
        guard confirms else { return nil }
        let settings = MailDestination.attributes(of: entity.logicalName).compactMap { name -> String? in
            guard let attribute = entity[name], let text = typing.typed[name], !text.isEmpty else { return nil }
            return visit.texts.labelled(visit.texts.label(attribute, of: entity), text)
        }
        let whose = try await holderSettings(record, typing, visit)
        let all = (settings + whose.settings).joined(separator: "; ")
        return FormQuestion(
            title: visit.text("settingsTitle"),
            text: ([visit.text("settingsWhy", ["settings": all])] + whose.sentences).joined(separator: " "),
            button: visit.text("settingsNow"), subject: "settings: \(all)")
    }

    /// The question before stored passwords are deleted; nil if no password is deleted.
    private static func clearQuestion(_ form: RecordForm, _ typing: TypedRecord) throws -> FormQuestion? {
        let (visit, entity) = (form.visit, form.entity)
        let cleared = typing.members.compactMap { member -> AttributeDefinition? in
            member.value == .null && form.secrets[member.name] != nil ? entity[member.name] : nil
        }
        guard !cleared.isEmpty else { return nil }
        let labels = cleared.map { "“\(visit.texts.label($0, of: entity))”" }.joined(separator: ", ")
        return FormQuestion(
            title: visit.text("clearTitle", ["what": labels, "name": form.title]), text: visit.text("clearWhy"),
            button: visit.text("clearNow"), subject: "clear: \(cleared.map(\.logicalName).joined(separator: ", "))")
    }

    /// The record that this form has already made; nil if it has made none.
    ///
    /// Without this check, a form that is sent twice would ask about its own record, for example because that record has the
    /// address now.
    private func madeAlready(_ entity: EntityDefinition, _ visit: Visit) async throws -> UUID? {
        let (session, recordIDs) = (try visit.session(), try FormRecordIDs(visit, deployment.kek))
        if Self.makesQueue(entity, visit) { return try await mailbox(of: recordIDs?.id("queue"), session) }
        guard let own = try recordIDs?.id(entity.logicalName) else { return nil }
        return try await isThere(entity, own, session) ? own : nil
    }

    private func isThere(_ entity: EntityDefinition, _ id: UUID, _ session: Session) async throws -> Bool {
        do {
            return try await !session.retrieve(entity, .id(id), [.init(.column(.init(entity.primaryID)))]).records.isEmpty
        } catch let error as FieldsealError where error.code == .objectDoesNotExist {
            return false
        }
    }

    /// Creates a record, or finds the record that this form made already.
    ///
    /// - Parameter own: The id of the record that this form makes; nil for a form that may make several records.
    func made(
        _ entity: EntityDefinition, as own: UUID?, _ members: [JSONValue.Member], _ visit: Visit
    ) async throws -> (id: UUID, isNew: Bool) {
        let session = try visit.session()
        do {
            return (try await session.write(.create(entity, id: own, members)).id, true)
        } catch let error as FieldsealError where error.code == .duplicateRecord {
            guard let own, (try? await session.retrieve(entity, .id(own), [.init(.column(.init(entity.primaryID)))])) != nil else {
                throw error
            }
            return (own, false)
        }
    }
}
