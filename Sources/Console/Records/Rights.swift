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

    /// Some mailboxes that a person may see, in the order of their names.
    func mailboxes(_ limit: Int, _ visit: Visit) async throws -> [(id: UUID, name: String)] {
        guard Navigation.mayList(.mailbox, visit.roles) else { return [] }
        var query = RecordQuery()
        query.outputs = [.init(.column(.init("name")))]
        query.order = [.init(.column(.init("name")))]
        query.pageSize = limit
        return try await visit.session().list(.mailbox, query).records.map { record in
            let name = try Self.text("name", of: record)
            return (record.id, name.isEmpty ? visit.text("unnamed") : name)
        }
    }

    /// Whether a person may write e-mails, and sees a mailbox to send them from.
    func maySend(_ visit: Visit) async throws -> Bool {
        guard Self.may(.create, .email, visit) else { return false }
        return try await !mailboxes(1, visit).isEmpty
    }

    /// The page in place of a new e-mail for a person without a mailbox.
    func noMailboxPage(_ visit: Visit) -> Reply {
        let mayConnect = Self.may(.create, .mailbox, visit)
        return visit.message("newEmail", visit.text(mayConnect ? "empty:mailbox" : "noMailboxOfYours"), status: .conflict)
    }
}
