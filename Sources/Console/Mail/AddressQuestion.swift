import Foundation
import JSON
import Model
import Records
import Tenancy

// The address of a queue: its mail goes out under it, and answers arrive where mail to it is received.
extension Console {
    /// The question before a queue gets an address that another queue or another mailbox has; nil if none has, and after the answer.
    ///
    /// - Parameters:
    ///   - queue: Nil for a new one.
    ///   - asked: Another question about the same form, which is asked along with it.
    func addressQuestion(
        _ entity: EntityDefinition, _ queue: UUID?, _ typing: TypedRecord, _ asked: [String: Any]?, _ visit: Visit
    ) async throws -> [String: Any]? {
        guard entity.logicalName == EntityDefinition.queue.logicalName, visit.form["confirmed"] == nil,
            let address = typing.members.first(where: { $0.name == "emailaddress" })?.value.string, !address.isEmpty,
            let holder = try await holder(of: address, besides: queue, visit)
        else { return nil }
        let facts = ["address": address, "holder": holder]
        let title = visit.text("queueAddressTaken", facts)
        return [
            "title": [asked?["title"] as? String, title].compactMap(\.self).joined(separator: " "),
            "text": [asked?["text"] as? String, visit.text("queueAddressTakenWhy")].compactMap(\.self).joined(separator: " "),
            "button": visit.text("saveAnyway"),
        ]
    }

    /// The oldest queue or else mailbox with an address, by its kind and name. A queue's own mailbox does not count.
    private func holder(of address: String, besides queue: UUID?, _ visit: Visit) async throws -> String? {
        for (entity, own) in [(EntityDefinition.queue, "queueid"), (.mailbox, "regardingobjectid")] {
            guard Navigation.mayList(entity, visit.roles) else { continue }
            var query = RecordQuery()
            query.outputs = [.init(.column(.init("name"))), .init(.column(.init(own)))]
            query.filter = .compare(.init("emailaddress"), .equal, .text(address))
            query.order = [.init(.column(.init("createdon")))]
            query.pageSize = 2
            let found = try await visit.session().list(entity, query).records.first { record in
                try queue.map { try record.value(of: own) != .id($0) } ?? true
            }
            guard let found else { continue }
            let name = try Self.text("name", of: found)
            return visit.texts.labelled(
                visit.text("entity:\(entity.logicalName)"), name.isEmpty ? visit.text("unnamed") : name)
        }
        return nil
    }
}
