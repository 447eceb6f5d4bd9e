import Foundation
import JSON
import Model
import Records
import Tenancy

// The address of a queue or a mailbox. The mail of the queue or mailbox is sent from this address, and answers arrive where mail to
// this address is received.
extension Console {
    /// The question before a queue or a mailbox gets an address that another queue or mailbox has; nil if the address is free.
    ///
    /// - Parameter record: The record that gets the address; nil for a new one.
    func addressQuestion(
        _ entity: EntityDefinition, _ record: Record?, _ typing: TypedRecord, _ visit: Visit
    ) async throws -> FormQuestion? {
        let isQueue = entity.logicalName == EntityDefinition.queue.logicalName
        guard isQueue || entity.logicalName == EntityDefinition.mailbox.logicalName,
            let address = typing.members.first(where: { $0.name == "emailaddress" })?.value.string, !address.isEmpty
        else { return nil }
        var (queue, mailbox): (UUID?, UUID?) = isQueue ? (record?.id, nil) : (nil, record?.id)
        if let record {
            guard try Self.text("emailaddress", of: record).lowercased() != address.lowercased() else { return nil }
            if !isQueue, case .id(let owner) = try record.value(of: "regardingobjectid") { queue = owner }
            if isQueue, case .id(let own) = try record.value(of: "defaultmailbox") { mailbox = own }
        }
        guard let holder = try await holder(of: address, besides: queue, mailbox, visit) else { return nil }
        return FormQuestion(
            title: visit.text("queueAddressTaken", ["address": address, "holder": holder]),
            text: visit.text(isQueue ? "queueAddressTakenWhy" : "mailboxAddressTakenWhy"), button: visit.text("saveAnyway"),
            subject: "address: \(address)")
    }

    /// The kind and name of the oldest queue with an address, or else of the oldest mailbox. A queue's own mailbox does not
    /// count, and neither does a mailbox's own queue.
    func holder(of address: String, besides queue: UUID?, _ mailbox: UUID?, _ visit: Visit) async throws -> String? {
        for (entity, belongs) in [(EntityDefinition.queue, "queueid"), (.mailbox, "regardingobjectid")] {
            guard Navigation.mayList(entity, visit.roles) else { continue }
            var query = RecordQuery()
            query.outputs = [.init(.column(.init("name"))), .init(.column(.init(belongs)))]
            query.filter = .compare(.init("emailaddress"), .equal, .text(address))
            query.order = [.init(.column(.init("createdon")))]
            query.pageSize = 3
            let found = try await visit.session().list(entity, query).records.first { record in
                guard record.id != mailbox else { return false }
                return try queue.map { try record.value(of: belongs) != .id($0) } ?? true
            }
            guard let found else { continue }
            let name = try Self.text("name", of: found)
            return visit.texts.labelled(
                visit.text("entity:\(entity.logicalName)"), name.isEmpty ? visit.text("unnamed") : name)
        }
        return nil
    }
}
