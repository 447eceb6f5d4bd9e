package import Foundation
import JSON
import Model
import PostgresClient

/// What a System Administrator may do with requests for approval: see them, and approve or refuse them.
///
/// The initializer checks the caller's role, so the methods do not check it again.
package struct ApprovalAdministration: Sendable {
    private let session: Session

    private var organization: Organization { session.organization }
    private var caller: Caller { session.caller }
    private var deployment: Deployment { session.deployment }

    /// What a caller is going to do with requests.
    package enum Purpose: Sendable {
        case see, approve, refuse

        /// The purpose as words in the error for a caller that is refused.
        fileprivate var words: String {
            switch self {
            case .see: "see requests for approval"
            case .approve: "approve a request"
            case .refuse: "refuse a request"
            }
        }
    }

    /// Checks that the caller is a System Administrator.
    ///
    /// - Throws: ``FieldsealError`` `.privilegeDenied` for another role, and for a caller that acts for another user.
    package init(_ session: Session, to purpose: Purpose) throws {
        try session.requireSystemAdministrator(to: purpose.words)
        self.session = session
    }

    /// The requests that are open or approved, the oldest first.
    package func list() async throws -> [Approval] {
        try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) {
                try $0.approvals(on: connection)
            }
        }
    }

    /// Whether the caller may approve a request: another System Administrator made it, and it is open.
    package func mayApprove(_ approval: Approval) -> Bool {
        approval.approver == nil && approval.requesterID != caller.systemUserID
    }

    /// Approves a request of another System Administrator, who can then do the operation once.
    ///
    /// - Throws: ``FieldsealError`` `.objectDoesNotExist`; `.privilegeDenied` for the caller's own request.
    package func approve(_ id: UUID) async throws {
        try await session.requireRecentSignIn(try await session.currentKeyControl(), .showKey)
        let isOwn = try await decide(id) { approval, change, connection in
            guard approval.requesterID != caller.systemUserID else {
                try change.append(
                    SecurityEvent(.approvalGiven, .refused, details: "\(approval.id.text): the request is the caller's own"),
                    by: caller, on: connection)
                return true
            }
            guard approval.approver == nil else {
                throw FieldsealError(.invalidArgument, "The request \(approval.id.text) is approved already.")
            }
            var approved = approval
            (approved.approver, approved.approverID) = (caller.actor, caller.systemUserID)
            _ = try connection.query(
                "UPDATE config.approval SET approver = $2, approver_id = $3, tag = $4 WHERE approval_id = $1",
                [
                    .uuid(approval.id), .text(caller.actor), .uuid(caller.systemUserID),
                    .bytes(try change.grant(approved.grant)),
                ])
            try change.append(
                SecurityEvent(
                    .approvalGiven, .succeeded, details: "\(approval.id.text): \(approval.subject), asked by \(approval.requester)"),
                by: caller, on: connection)
            return false
        }
        guard !isOwn else {
            throw FieldsealError(
                .privilegeDenied, "The request \(id.text) is the caller's own. Another System Administrator has to approve it.")
        }
    }

    /// Refuses a request, or withdraws the caller's own approval or request. A request that the attested list names is ended even
    /// if SQL hid or changed its row.
    package func refuse(_ id: UUID) async throws {
        try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                let approval = try change.approvals(on: connection).first { $0.id == id }
                guard try change.names(Approval.name(id)) else { throw Self.noRequest(id) }
                try Approval.end(id, &change, on: connection)
                let words =
                    approval.map { "\($0.subject), asked by \($0.requester)" } ?? "its row was changed or deleted by SQL"
                try change.append(
                    SecurityEvent(.approvalRefused, .succeeded, details: "\(id.text): \(words)"), by: caller, on: connection)
            }
        }
    }

    private static func noRequest(_ id: UUID) -> FieldsealError {
        FieldsealError(
            .objectDoesNotExist,
            "There is no open request for approval \(id.text): it was used or refused, or it has expired.")
    }

    private func decide<Result: Sendable>(
        _ id: UUID, _ body: @Sendable (Approval, inout AttestedChange, isolated PostgresConnection) throws -> Result
    ) async throws -> Result {
        try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                guard let approval = try change.approvals(on: connection).first(where: { $0.id == id }) else {
                    throw Self.noRequest(id)
                }
                return try body(approval, &change, connection)
            }
        }
    }
}
