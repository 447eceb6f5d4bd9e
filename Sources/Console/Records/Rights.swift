import Foundation
import HTTPTypes
import Model
import Records
import Tenancy

// What a person's role allows, asked before a form is shown.
extension Console {
    /// Whether a person may send a message to some records of an entity.
    static func may(_ message: EntityDefinition.Message, _ entity: EntityDefinition, _ visit: Visit) -> Bool {
        PrivilegeTable.depth(of: message, on: entity, for: visit.roles) != .none
    }

    /// Refuses a page whose form a person's role may not send.
    static func require(
        _ message: EntityDefinition.Message, _ entity: EntityDefinition, _ visit: Visit
    ) throws(FieldsealError) {
        guard may(message, entity, visit) else {
            throw FieldsealError(.privilegeDenied, "The role \(visit.role.rawValue) may not do this.")
        }
    }

    /// Some mailboxes that a person may see, in the order of their names. Those of one name have their addresses, too.
    func mailboxes(_ limit: Int, where filter: Filter? = nil, _ visit: Visit) async throws -> [(id: UUID, name: String)] {
        guard Navigation.mayList(.mailbox, visit.roles) else { return [] }
        var query = RecordQuery()
        query.outputs = ["name", "emailaddress"].map { .init(.column(.init($0))) }
        query.filter = filter
        query.order = [.init(.column(.init("name")))]
        query.pageSize = limit
        let found = try await visit.session().list(.mailbox, query).records.map { record in
            (id: record.id, name: try Self.text("name", of: record), address: try Self.text("emailaddress", of: record))
        }
        let counts = Dictionary(grouping: found, by: \.name).mapValues(\.count)
        return found.map { box in
            let name = box.name.isEmpty ? visit.text("unnamed") : box.name
            return (box.id, counts[box.name] == 1 || box.address.isEmpty ? name : "\(name) <\(box.address)>")
        }
    }

    /// The condition for mailboxes that e-mails can be sent from.
    static let sendingMailboxes = Filter.all([
        .not(.isNull(.init("regardingobjectid"))), .not(.isNull(.init("emailserverprofile"))),
        .compare(.init("statecode"), .equal, .number("\(RecordState.active.rawValue)")),
        .compare(.init("emailrouteraccessapproval"), .equal, .number("\(RouterApproval.approved.rawValue)")),
    ])

    /// Whether a person may write e-mails, and sees a mailbox to send them from.
    func maySend(_ visit: Visit) async throws -> Bool {
        guard Self.may(.create, .email, visit) else { return false }
        return try await !mailboxes(1, visit).isEmpty
    }

    /// The page in place of a new e-mail for a person without a mailbox.
    func noMailboxPage(_ visit: Visit) -> PageResponse {
        let mayConnect = Self.may(.create, .mailbox, visit)
        return visit.message("newEmail", visit.text(mayConnect ? "empty:mailbox" : "noMailboxOfYours"), status: .conflict)
    }
}
