import Foundation
import HTTPTypes
import JSON
import Model
import Records
import Tenancy

// Actions on one mailbox: approving, testing, enabling, disabling. Values that were typed into the mailbox's form are saved before
// the action.
extension Console {
    /// The id of the heading of a mailbox's state.
    static let statusTitle = "status-title"

    @Sendable func changeMailbox(_ visit: Visit) async throws -> PageResponse {
        guard visit.parameter("set") == "mailboxes", let id = visit.parameter("id").flatMap(UUID.init(text:)),
            let action = visit.form["do"].flatMap(MailboxAction.init(rawValue:)),
            action != .profile
        else { throw FieldsealError.noPage }
        let path = "\(visit.root)/records/mailboxes/\(id.text)"
        // The save before an action does not confirm settings that SQL changed.
        if visit.form["loaded"] != nil, case .refused(let page) = try await saving(.mailbox, visit, confirms: false) {
            return page
        }
        let facts = try await MailboxFacts.read([id], try visit.session())[id]
        let mayApprove: Bool = action == .test && visit.form["approves"] != "0" && MailboxAction.approve.isAllowed(for: visit.roles)
        let approval = try facts.map { try MailboxQuestion.approval(of: [$0]) }
        let approves: Bool =
            mayApprove && (facts.map { Self.names($0, visit) } ?? false || approval.map { $0 == visit.form["approves"] } ?? false)
        if mayApprove, !approves, let facts, facts.lacksApproval {
            return try MailboxQuestion(action: "\(path)/do", back: path, fields: [("do", action.rawValue)])
                .approve([facts], of: 1, visit)
        }
        if action == .approve, let facts, !facts.isDone(.approve, nil), MailboxAction.approve.isAllowed(for: visit.roles),
            try visit.form["confirmed"] != MailboxQuestion.approval(of: [facts])
        {
            return try MailboxQuestion(action: "\(path)/do", back: path, fields: [("do", action.rawValue)])
                .approve(facts, visit)
        }
        if let obstacle = facts?.obstacle(action, approves: approves) {
            return visit.message(
                obstacle == "noProfileChosen" ? "noProfile" : "wentWrong", visit.text(obstacle), status: .badRequest)
        }
        let shown = facts.map(\.shownName).flatMap { $0.isEmpty ? nil : $0 } ?? id.text
        let subject = try MailboxQuestion.subject(.disable, [(id, shown)])
        if action == .disable, visit.form["confirmed"] != subject {
            let name = facts.map(\.name).flatMap { $0.isEmpty ? nil : $0 } ?? id.text
            return MailboxQuestion(action: "\(path)/do", back: path, fields: [("do", action.rawValue)])
                .disable(visit.text("disableTitle", ["name": name]), visit.text("disableMailboxWhy"), [], subject, visit)
        }
        var members = action.members
        if action == .test, approves, facts?.lacksApproval == true { members += MailboxAction.approve.members }
        try await visit.session().write(.upsert(.mailbox, .id(id), members, .mustExist))
        // On a small screen the state is below what the page begins with.
        return .redirect("\(path)?done=\(action.done)#\(Self.statusTitle)")
    }

    /// Whether the approval in a mailbox's form is for the address that the mailbox has after the save.
    private static func names(_ facts: MailboxFacts, _ visit: Visit) -> Bool {
        let typed = (visit.form["emailaddress"] ?? "").trimmingCharacters(in: .whitespaces)
        return visit.form["approves"] == "1" && visit.form["loaded"] != nil && typed == facts.address
    }

    /// Requests a test of a mailbox whose password was just saved, if the mailbox failed and no router would try the new password
    /// without a test.
    ///
    /// - Returns: The key of the notice that says what happens with the password.
    func tryPassword(of id: UUID, _ visit: Visit) async throws -> String {
        let facts = try await MailboxFacts.read([id], try visit.session())[id]
        guard let facts, facts.isStopped else { return "passwordSaved" }
        guard MailboxAction.test.isAllowed(for: visit.roles) else { return "passwordWaits" }
        guard facts.obstacle(.test) == nil else { return "passwordSaved" }
        try await visit.session().write(.upsert(.mailbox, .id(id), [.init("testemailconfigurationscheduled", true)], .mustExist))
        return "passwordTested"
    }
}
