import Foundation
import HTTPTypes
import JSON
import Model
import Records
import Tenancy

// What a person's role allows. Pages check these rights before they show a form.
extension Console {
    /// Whether a person may send a message to at least some records of an entity.
    static func may(_ message: EntityDefinition.Message, _ entity: EntityDefinition, _ visit: Visit) -> Bool {
        PrivilegeTable.depth(of: message, on: entity, for: visit.roles) != .none
    }

    /// Throws if a person's role may not send the form of a page.
    static func require(
        _ message: EntityDefinition.Message, _ entity: EntityDefinition, _ visit: Visit
    ) throws(FieldsealError) {
        guard may(message, entity, visit) else {
            throw FieldsealError.roleForbids(visit.role)
        }
    }

    /// Mailboxes that a person may see, in the order of their names, up to a limit. Mailboxes with the same name have their
    /// addresses too.
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

    /// Whether a person may write e-mails, and send them from a mailbox that they see.
    func maySend(_ visit: Visit) async throws -> Bool {
        guard Self.may(.create, .email, visit) else { return false }
        return try await !mailboxes(1, where: permittedMailboxes(visit), visit).isEmpty
    }

    /// The condition for mailboxes of the users and queues in whose name a person may send.
    func permittedMailboxes(_ visit: Visit) async throws -> Filter {
        guard let senders = try await visit.session().permittedSenders() else { return .constant(true) }
        return senders.isEmpty ? .constant(false) : .isIn(.init("regardingobjectid"), senders.map { .text($0.text) })
    }

    /// The mailboxes to choose a sender from, and the notice about sending from one of them.
    ///
    /// - Parameter chosen: A mailbox that stays in the list if the person may send from it.
    func senders(
        _ limit: Int, chosen: UUID?, _ visit: Visit
    ) async throws -> (boxes: [(id: UUID, name: String)], doubt: String?) {
        let permitted = try await permittedMailboxes(visit)
        var boxes = try await mailboxes(limit, where: .all([permitted, Self.sendingMailboxes]), visit)
        var doubt: String?
        // If no mailbox can send, all mailboxes are offered, and the error of the send says what a mailbox lacks.
        if boxes.isEmpty {
            boxes = try await mailboxes(limit, where: permitted, visit)
            doubt = visit.text("noneSends")
        }
        guard !boxes.isEmpty, let chosen, !boxes.contains(where: { $0.id == chosen }) else { return (boxes, doubt) }
        let isChosen = Filter.compare(.init("mailboxid"), .equal, .text(chosen.text))
        let found = try await mailboxes(1, where: .all([permitted, isChosen]), visit)
        let name = try await RecordNames(["mailbox": [chosen]], try visit.session())[chosen]
        let sends = try await !mailboxes(1, where: .all([permitted, isChosen, Self.sendingMailboxes]), visit).isEmpty
        if !sends, let name { doubt = visit.text(found.isEmpty ? "mayNotSendFrom" : "doesNotSend", ["name": name]) }
        return (boxes + found, doubt)
    }

    /// The page in place of a new e-mail for a person who has no mailbox, or may send from none.
    func noMailboxPage(_ visit: Visit) async throws -> PageResponse {
        let mayConnect = Self.may(.create, .mailbox, visit)
        let seesSome = try await !mailboxes(1, visit).isEmpty
        let text: String = seesSome ? "sendsFromNone" : mayConnect ? "empty:mailbox" : "noMailboxOfYours"
        return visit.message("newEmail", visit.text(text), status: .conflict)
    }
}

extension FieldsealError {
    static func roleForbids(_ role: Role) -> FieldsealError {
        FieldsealError(.privilegeDenied, "The role \(role.rawValue) may not do this.")
    }
}
