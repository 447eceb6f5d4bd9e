import Foundation
import JSON
import Model
import Records
import Tenancy

extension Record {
    /// The queue or the user that a mailbox belongs to; nil for none.
    var mailboxHolder: (entity: EntityDefinition, id: UUID)? {
        guard case .id(let id)? = try? value(of: "regardingobjectid"),
            case .text(let type)? = try? value(of: "regardingobjecttypecode"),
            ["queue", "systemuser"].contains(type), let entity = EntityCatalog.entity(type)
        else { return nil }
        return (entity, id)
    }
}

// The queue or the user that a mailbox belongs to. That queue or user owns the mailbox's e-mails, and the mailbox sends in the
// name of that queue or user.
extension Console {
    /// Says, for the question before a mailbox's settings are confirmed, whose stored password it may use, and at which servers.
    ///
    /// - Returns: The lines that a confirmation is compared with (`settings`), and the sentences that the page shows.
    func holderSettings(
        _ record: Record?, _ typing: TypedRecord, _ visit: Visit
    ) async throws -> (settings: [String], sentences: [String]) {
        guard let record, let holder = record.mailboxHolder else { return ([], []) }
        let names = try await RecordNames([holder.entity.logicalName: [holder.id]], try visit.session())
        // The name alone is not enough, because another user may have the same name.
        let who = "\(names[holder.id] ?? visit.text("unnamed")) (\(holder.id.text))"
        let kind = visit.text("entity:\(holder.entity.logicalName)")
        let servers = try await servers(typing, visit).joined(separator: ", ")
        let sentence = visit.text(
            servers.isEmpty ? "settingsNoServer" : "settingsWhose",
            ["who": visit.texts.labelled(kind, who), "servers": servers])
        return ([visit.texts.labelled(kind, who)] + (servers.isEmpty ? [] : [servers]), [sentence])
    }

    /// The servers of the profile that a mailbox's form names.
    private func servers(_ typing: TypedRecord, _ visit: Visit) async throws -> [String] {
        let bound = typing.members.first { $0.name.lowercased().hasPrefix("emailserverprofile@") }?.value.string
        guard let bound, case .some((let profile, .id(let id))) = try ParsedValues.reference(bound) else { return [] }
        var query = RecordQuery()
        query.outputs = MailServers.attributes.map { .init(.column(.init($0))) }
        query.filter = .compare(.init(profile.primaryID), .equal, .text(id.text))
        query.pageSize = 1
        guard let found = try await visit.session().list(profile, query).records.first else { return [] }
        return try MailServers { if case .text(let text) = try found.value(of: $0) { text } else { nil } }.names
    }

    /// The lines in a mailbox's state about the queue or the user that it belongs to.
    func belongingFacts(_ record: Record, _ visit: Visit) async throws -> [[String: Any]] {
        [try await belongingFact(record, visit)] + (try await sendingFact(record, visit))
    }

    /// The line in a mailbox's state that names the queue or the user, with a link to it if the person may open it.
    private func belongingFact(_ record: Record, _ visit: Visit) async throws -> [String: Any] {
        var fact: [String: Any] = [
            "label": visit.text("belongsTo"), "time": false, "value": visit.text("belongsToNone"), "href": false,
        ]
        guard case .id(let id) = try record.value(of: "regardingobjectid"),
            case .text(let type) = try record.value(of: "regardingobjecttypecode"), let entity = EntityCatalog.entity(type)
        else { return fact }
        let names = try await RecordNames([type: [id]], try visit.session())
        let name = names[id]
        let kind = visit.text("entity:\(type)")
        // If the person may not read the queue or the user, only its kind is shown.
        fact["value"] = names.isKnown(id) ? visit.texts.labelled(kind, name ?? visit.text("unnamed")) : kind
        // A user has no page; the page of the user's settings takes its place.
        let page: EntityDefinition = entity.logicalName == EntityDefinition.systemUser.logicalName ? .userSettings : entity
        if name != nil, Navigation.mayList(page, visit.roles) {
            fact["href"] = "\(visit.root)/records/\(page.entitySetName)/\(id.text)"
        }
        return fact
    }

    /// The address of the queue or the user that a mailbox belongs to; nil if it belongs to none, or the person may not read
    /// it.
    func holderAddress(_ mailbox: Record, _ visit: Visit) async throws -> String? {
        guard let (entity, id) = mailbox.mailboxHolder,
            let name = ["queue": "emailaddress", "systemuser": "internalemailaddress"][entity.logicalName],
            Navigation.mayList(entity, visit.roles)
        else { return nil }
        var query = RecordQuery()
        query.outputs = [.init(.column(.init(name)))]
        query.filter = .compare(.init(entity.primaryID), .equal, .text(id.text))
        query.pageSize = 1
        guard let holder = try await visit.session().list(entity, query).records.first else { return nil }
        let address = try Self.text(name, of: holder)
        return address.isEmpty ? nil : address
    }

    /// The line in a mailbox's state that names the address from which its mail is sent, if it is not the mailbox's own.
    private func sendingFact(_ record: Record, _ visit: Visit) async throws -> [[String: Any]] {
        guard let address = try await holderAddress(record, visit),
            address.lowercased() != (try Self.text("emailaddress", of: record)).lowercased()
        else { return [] }
        return [["label": visit.text("sendsAs"), "time": false, "value": address, "href": false]]
    }

    // MARK: A new mailbox

    /// Whether a new mailbox is made by creating a queue. The new queue gets a mailbox with the queue's address, so an address must
    /// have been typed.
    static func makesQueue(_ entity: EntityDefinition, _ visit: Visit) -> Bool {
        let address = (visit.form["emailaddress"] ?? "").trimmingCharacters(in: .whitespaces)
        return entity.logicalName == EntityDefinition.mailbox.logicalName && visit.form["belongs"] == "queue" && !address.isEmpty
    }

    /// The choice of what a new mailbox belongs to; nil for other records, or for a person who may not create a queue.
    static func belongingChoice(_ entity: EntityDefinition, isNew: Bool, typed: String?, _ visit: Visit) -> [[String: Any]]? {
        guard isNew, entity.logicalName == EntityDefinition.mailbox.logicalName, may(.create, .queue, visit) else { return nil }
        let choices = [("queue", "belongsToQueue", "belongsToQueueWhy"), ("none", "belongsToNothing", "belongsToNothingWhy")]
        return choices.map { value, text, why in
            [
                "value": value, "text": visit.text(text), "why": visit.text(why),
                "checked": (typed ?? "queue") == value,
            ]
        }
    }

    /// Creates a queue, which makes its mailbox, and writes the other typed values to that mailbox. If these values are refused,
    /// the queue is deleted again.
    func madeWithQueue(_ members: [JSONValue.Member], _ visit: Visit) async throws -> UUID {
        let session = try visit.session()
        let queue = try FormRecordIDs(visit, deployment.kek)?.id("queue") ?? UUID()
        if let mailbox = try await mailbox(of: queue, session) { return mailbox }
        let shared = members.filter { ["name", "emailaddress"].contains($0.name) || $0.name.hasPrefix("ownerid") }
        do {
            try await session.write(.create(.queue, id: queue, shared + [.init("incomingemailfilteringmethod", 0)]))
        } catch let error as FieldsealError where error.code == .duplicateRecord {
            // The same form was sent twice at the same moment.
            guard let mailbox = try await mailbox(of: queue, session) else { throw error }
            return mailbox
        }
        do {
            guard let mailbox = try await mailbox(of: queue, session) else { throw FieldsealError.noSuchRecord(.mailbox) }
            try await session.write(.upsert(.mailbox, .id(mailbox), members, .mustExist))
            return mailbox
        } catch {
            _ = try? await session.write(.delete(.queue, .id(queue)))
            throw error
        }
    }
}
