import Foundation
import HTTPTypes
import JSON
import Model
import Tenancy

// Requests that a second System Administrator has to approve.
extension Console {
    static let approvalsPath = "settings/approvals"

    @Sendable func approvals(_ visit: Visit) async throws -> PageResponse {
        let done = visit.query("done").flatMap { ["approvedDone", "refusedDone"].contains($0) ? visit.text($0) : nil }
        return try await approvalsPage(visit, notice: done)
    }

    private func approvalsPage(
        _ visit: Visit, notice: String? = nil, problem: String? = nil, status: HTTPResponse.Status = .ok
    ) async throws -> PageResponse {
        let session = try visit.session()
        let control = try await KeyControlAdministration(session, to: .see).current()
        func span(_ seconds: Int?) -> Any { orFalse(seconds.map(visit.texts.span)) }
        var values: [String: Any] = [
            "title": visit.text("approvals"), "lead": visit.text("approvalsLead"), "command": "fieldseal key control",
            "addresses": visit.text("view:mailbox.unapproved"),
            "isFree": control.approvalSeconds == nil && control.signInSeconds == nil,
            "approvalTime": span(control.approvalSeconds), "signInTime": span(control.signInSeconds),
        ]
        let approvals = try ApprovalAdministration(session, to: .see)
        let requests = try await approvals.list().map { approval -> [String: Any] in
            [
                "id": approval.id.text, "subject": visit.texts.subject(approval.subject),
                "by": ActorName.shown(approval.requester, visit.texts),
                "address": approval.address.map(EventLines.address) ?? "", "createdOn": visit.texts.time(approval.createdOn),
                "expiresOn": visit.texts.time(approval.expiresOn), "mayApprove": approvals.mayApprove(approval),
                "approver": orFalse(approval.approver.map { ActorName.shown($0, visit.texts) }),
            ]
        }
        values["requests"] = requests
        values["hasRequests"] = !requests.isEmpty
        values["notice"] = notice
        values["problem"] = problem
        return .page("approvals", values, status: status)
    }

    func decide(_ action: String, _ visit: Visit) async throws -> PageResponse {
        if let reply = try await requireReauthentication(visit, for: "\(Self.approvalsPath)/\(action)") { return reply }
        guard let id = visit.form["id"].flatMap(UUID.init(text:)) else { throw FieldsealError.noPage }
        do {
            if action == "approve" {
                try await ApprovalAdministration(visit.session(), to: .approve).approve(id)
            } else {
                try await ApprovalAdministration(visit.session(), to: .refuse).refuse(id)
            }
            return .redirect("\(visit.root)/\(Self.approvalsPath)?done=\(action == "approve" ? "approvedDone" : "refusedDone")")
        } catch let error as FieldsealError {
            return try await approvalsPage(
                visit, problem: visit.texts.told(error.message), status: .init(code: error.code.httpStatus))
        }
    }

    static let approvalActions = ["approve", "refuse"]
}
