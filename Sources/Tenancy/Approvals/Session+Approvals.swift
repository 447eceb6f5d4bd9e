import CellCrypto
import Foundation
import JSON
import Model
package import PostgresClient

extension Session {
    /// The organization's rules for showing or setting its key.
    func currentKeyControl() async throws -> KeyControl {
        try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
            return try KeyControl.read(organization, state.grants, under: deployment.kek, on: connection)
        }
    }

    /// Throws unless the organization's rules are met: the caller has signed in recently, and a second System Administrator has
    /// approved. The approval is used up.
    ///
    /// - Parameters:
    ///   - subject: A complete description of the operation for the approver.
    ///   - secret: Secret arguments of the operation, such as the new key. The approver does not see them.
    /// - Throws: ``FieldsealError`` `.signInTooOld`; `.approvalAwaited` with the id of the request that was made or is open.
    package func requireControl(of operation: Approval.Operation, _ subject: String, secret: String? = nil) async throws {
        let control = try await currentKeyControl()
        guard control.isOn else { return }
        try await requireRecentSignIn(control, operation)
        guard control.approvalSeconds != nil else { return }
        try await requireApproval(of: operation, subject, secret: secret)
    }

    /// Makes a change that may need an approval. If the change was not approved, nothing is changed, and a request for its approval
    /// is made.
    ///
    /// - Throws: ``FieldsealError`` `.approvalAwaited` with the id of the request that was made or is open.
    package func requestingApproval<Result: Sendable>(
        _ change: @Sendable (isolated PostgresConnection) throws -> Result
    ) async throws -> Result {
        // Bounded: the change is tried again only if approvals were turned off meanwhile.
        while true {
            do {
                return try await deployment.pool.withConnection { try change($0) }
            } catch let needed as ApprovalNeeded {
                let request = try await deployment.pool.withConnection { connection in
                    try AttestedState.change(of: organization, under: deployment.kek, on: connection) {
                        try $0.request(needed, by: caller, on: connection)
                    }
                }
                // `request` is nil if approvals were turned off meanwhile. Then the loop tries the change again.
                if let request { throw request.awaited }
            }
        }
    }

    /// Refuses a client whose sign-in is older than the rule allows.
    func requireRecentSignIn(_ control: KeyControl, _ operation: Approval.Operation) async throws {
        guard caller.clientID != nil, let seconds = control.signInSeconds else { return }
        if let signedIn = caller.signedInOn, Date().timeIntervalSince(signedIn) <= Double(seconds) { return }
        try await record(SecurityEvent(.keyRefused, .refused, details: "\(operation.rawValue): \(ErrorCode.signInTooOld)"))
        throw FieldsealError(
            .signInTooOld,
            "This request needs a sign-in within the last \(seconds) seconds. Get a new access token, and send the request again.",
            detail: .maximumAge(seconds))
    }

    private func requireApproval(of operation: Approval.Operation, _ subject: String, secret: String?) async throws {
        let needed = ApprovalNeeded(operation: operation, subject: subject, secret: secret)
        let awaited = try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                try change.useApproval(needed, by: caller, on: connection)
                    ? nil : change.request(needed, by: caller, on: connection)
            }
        }
        if let awaited { throw awaited.awaited }
    }
}
