import CellCrypto
import Foundation
import JSON
import Model
package import PostgresClient

/// The error for an operation that a second System Administrator has to approve first. Throwing this error rolls the transaction
/// back. The request for the approval is then made in a new transaction.
struct ApprovalNeeded: Error {
    let operation: Approval.Operation
    /// A complete description of the operation for the approver.
    let subject: String
    /// Secret arguments of the operation, which the approver does not see.
    let secret: String?
}

extension Approval {
    /// The error for an operation whose request is not approved yet.
    var awaited: FieldsealError {
        FieldsealError(
            .approvalAwaited,
            "A second System Administrator has to approve this first: \(subject). The request \(id.text) is open until "
                + "\(ISO8601.text(expiresOn)). Repeat the operation once the request is approved.",
            detail: .approval(id.text))
    }
}

extension AttestedChange {
    /// How many open requests one caller has at most.
    private static let openApprovals = 20

    // MARK: What gives access

    /// Whether giving the rights of a System Administrator needs the approval of a second System Administrator. The command line
    /// needs no approval, because its operator has the key-encryption key.
    private func controlsAccess(of caller: Caller, on connection: isolated PostgresConnection) throws -> Bool {
        guard caller.systemUserID != nil else { return false }
        return try KeyControl.read(organization, grants, under: kek, on: connection).approvalSeconds != nil
    }

    /// Throws if the operation gives the rights of a System Administrator, approvals are required, and it is not approved.
    /// Without this check, a caller could add a second administrator, and approve their own requests with it. If the operation is
    /// approved, its approval is used up.
    ///
    /// The check and the operation are one change under a lock, so SQL can't change the rules between them.
    ///
    /// - Parameters:
    ///   - subject: A complete description of the operation for the approver.
    ///   - gives: Whether the operation gives the rights of a System Administrator. The closure is called only if approvals are
    ///     required.
    package mutating func requireAccessControl(
        _ subject: String, by caller: Caller, on connection: isolated PostgresConnection,
        if gives: (RoleHolders) -> Bool = { _ in true }
    ) throws {
        guard try controlsAccess(of: caller, on: connection), try gives(roleHolders(on: connection)) else { return }
        let needed = ApprovalNeeded(operation: .giveAccess, subject: subject, secret: nil)
        guard try useApproval(needed, by: caller, on: connection) else { throw needed }
    }

    /// Throws if a change of records gives the rights of a System Administrator while approvals are required. Only the console and
    /// the command line can give these rights then.
    ///
    /// - Parameter gives: Whether the change of records gives the rights of a System Administrator.
    package func refuseGivingAccess(
        by caller: Caller, on connection: isolated PostgresConnection, if gives: (RoleHolders) -> Bool = { _ in true }
    ) throws {
        guard try controlsAccess(of: caller, on: connection), try gives(roleHolders(on: connection)) else { return }
        throw FieldsealError(
            .privilegeDenied,
            "While the use of the key needs an approval, records can't give the role System Administrator. Give the role in the "
                + "console, which asks for the approval, or on the command line."
        )
    }

    // MARK: Requests

    private func digest(of needed: ApprovalNeeded) throws -> [UInt8] {
        try kek.tag(
            label: "approval of an operation",
            over: [
                organization.id.bytes, Grant.field(needed.operation.rawValue), Grant.field(needed.subject),
                Grant.field(needed.secret.map { Array($0.utf8) }),
            ])
    }

    /// All requests of the caller (`own`), and the request among them for this operation (`known`; nil if there is none).
    private mutating func requests(
        for needed: ApprovalNeeded, by caller: Caller, on connection: isolated PostgresConnection
    ) throws -> (own: [Approval], known: Approval?) {
        let digest = try digest(of: needed)
        let own = try approvals(on: connection).filter { $0.requesterID == caller.systemUserID }
        return (own, own.first { $0.operation == needed.operation.rawValue && constantTimeEqual($0.digest, digest) })
    }

    /// Uses up the approval of an operation.
    ///
    /// - Returns: False if the operation was not approved.
    mutating func useApproval(
        _ needed: ApprovalNeeded, by caller: Caller, on connection: isolated PostgresConnection
    ) throws -> Bool {
        guard let known = try requests(for: needed, by: caller, on: connection).known, let approver = known.approver else {
            return false
        }
        try known.end(&self, on: connection)
        try append(
            SecurityEvent(
                .approvalUsed, .succeeded, details: "\(known.id.text): \(needed.subject), approved by \(approver)"),
            by: caller, on: connection)
        return true
    }

    /// Makes a request for the approval of an operation, or returns the caller's request that exists already.
    ///
    /// - Returns: Nil if no approval is needed any more.
    mutating func request(
        _ needed: ApprovalNeeded, by caller: Caller, on connection: isolated PostgresConnection
    ) throws -> Approval? {
        let control = try KeyControl.read(organization, grants, under: kek, on: connection)
        guard let seconds = control.approvalSeconds else { return nil }
        let (own, known) = try requests(for: needed, by: caller, on: connection)
        if let known { return known }
        guard own.count < Self.openApprovals else {
            throw FieldsealError(
                .requestQuotaExceeded,
                "The caller has \(own.count) requests for approval that are open. Have them approved or refused first.",
                retryAfter: 60)
        }
        let approval = Approval(
            id: .timeOrdered(), organizationID: organization.id, operation: needed.operation.rawValue, subject: needed.subject,
            digest: try digest(of: needed), requester: caller.actor, requesterID: caller.systemUserID, address: caller.address,
            created: now, expires: now.adding(seconds: seconds))
        try approval.insert(&self, on: connection)
        try append(
            SecurityEvent(.approvalRequested, .succeeded, details: "\(approval.id.text): \(needed.subject)"), by: caller,
            on: connection)
        return approval
    }
}
