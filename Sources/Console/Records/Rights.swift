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
        let unnamed = visit.text("unnamed")
        return try await RecordOffer.read(.mailbox, where: filter, limit: limit, try visit.session(), visit.texts, unnamed: unnamed)
            .map {
                ($0.id, $0.text)
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
