import CellCrypto
package import Foundation
import JSON
import Model
package import PostgresClient

extension Session {
    /// The organization's rules for showing or setting its key.
    package func keyControl() async throws -> KeyControl {
        try requireSystemAdministrator(to: "see what is asked for before the key is used")
        return try await currentKeyControl()
    }

    private func currentKeyControl() async throws -> KeyControl {
        try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
            return try KeyControl.read(organization, state.grants, under: deployment.kek, on: connection)
        }
    }

    // MARK: Requests

    /// Refuses an operation until the organization's rules are met: the caller has signed in recently, and a second System
    /// Administrator has approved. The approval is used up.
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

    /// Makes a change that may need an approval. If it was not approved, nothing is changed, and the request for its approval is made.
    ///
    /// - Throws: ``FieldsealError`` `.approvalAwaited` with the id of the request that was made or is open.
    package func requestingApproval<Result: Sendable>(
        _ change: @Sendable (isolated PostgresConnection) throws -> Result
    ) async throws -> Result {
        // Bounded: the next attempt is made only if approvals were turned off meanwhile.
        while true {
            do {
                return try await deployment.pool.withConnection { try change($0) }
            } catch let needed as ApprovalNeeded {
                let request = try await deployment.pool.withConnection { connection in
                    try AttestedState.change(of: organization, under: deployment.kek, on: connection) {
                        try $0.request(needed, by: caller, on: connection)
                    }
                }
                // Without a request, no approval is needed any more.
                if let request { throw request.awaited }
            }
        }
    }

    private func requireRecentSignIn(_ control: KeyControl, _ operation: Approval.Operation) async throws {
        guard caller.clientID != nil, let seconds = control.signInSeconds else { return }
        if let signedIn = caller.signedInOn, Date().timeIntervalSince(signedIn) <= Double(seconds) { return }
        try await record(SecurityEvent(.keyRefused, .refused, details: "\(operation.rawValue): \(ErrorCode.signInTooOld)"))
        throw FieldsealError(
            .signInTooOld,
            "This needs a sign-in within the last \(seconds) seconds. Get a new access token, and send the request again.",
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

    // MARK: Decisions

    /// The requests that are open or approved, the oldest first.
    package func approvals() async throws -> [Approval] {
        try requireSystemAdministrator(to: "see requests for approval")
        return try await deployment.pool.withConnection { connection in
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
        try requireSystemAdministrator(to: "approve a request")
        try await requireRecentSignIn(try await currentKeyControl(), .showKey)
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

    /// Refuses a request, or withdraws the caller's own approval or request.
    package func refuse(_ id: UUID) async throws {
        try requireSystemAdministrator(to: "refuse a request")
        try await decide(id) { approval, change, connection in
            try approval.end(&change, on: connection)
            try change.append(
                SecurityEvent(
                    .approvalRefused, .succeeded,
                    details: "\(approval.id.text): \(approval.subject), asked by \(approval.requester)"
                ), by: caller, on: connection)
        }
    }

    private func decide<Result: Sendable>(
        _ id: UUID, _ body: @Sendable (Approval, inout AttestedChange, isolated PostgresConnection) throws -> Result
    ) async throws -> Result {
        try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                guard let approval = try change.approvals(on: connection).first(where: { $0.id == id }) else {
                    throw FieldsealError(
                        .objectDoesNotExist,
                        "There is no open request for approval \(id.text): it was used or refused, or it has expired.")
                }
                return try body(approval, &change, connection)
            }
        }
    }

    // MARK: The rule

    /// Sets the organization's rule. If approvals are required, a less strict rule needs one too.
    ///
    /// - Throws: ``FieldsealError`` `.invalidArgument` for a number out of range, and if there is no second System Administrator.
    package func setKeyControl(_ new: KeyControl) async throws {
        try requireSystemAdministrator(to: "set what is asked for before the key is used")
        guard new.approvalSeconds.map(KeyControl.approvalRange.contains) ?? true,
            new.signInSeconds.map(KeyControl.signInRange.contains) ?? true
        else {
            throw FieldsealError(
                .invalidArgument,
                "An approval is given within \(KeyControl.approvalRange.lowerBound) to \(KeyControl.approvalRange.upperBound) seconds, "
                    + "and a sign-in is \(KeyControl.signInRange.lowerBound) to \(KeyControl.signInRange.upperBound) seconds old at most."
            )
        }
        let old = try await currentKeyControl()
        // The rule that SQL changed may have been stricter than the one that applies now. The operator has the key-encryption key.
        if old.isWeakened(by: new) || !old.isKnown && caller.systemUserID != nil {
            try await requireControl(of: .setKeyControl, "ask for less before the key is used: \(new.words)")
        }
        try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                let current = try KeyControl.read(organization, change.grants, under: change.kek, on: connection)
                guard current == old else {
                    throw FieldsealError(.concurrencyVersionMismatch, "The rule was changed meanwhile. Look at it, then try again.")
                }
                if new.approvalSeconds != nil { try requireSecondAdministrator(change, on: connection) }
                try new.store(&change, by: caller, on: connection)
                try change.append(
                    SecurityEvent(.keyControlSet, .succeeded, details: new.words), by: caller, on: connection)
            }
        }
    }

    /// Refuses to ask for approvals that no caller could give, and while rows of other administrators may be hidden.
    private func requireSecondAdministrator(_ change: AttestedChange, on connection: isolated PostgresConnection) throws {
        guard try change.administrators(on: connection) > 1 else {
            throw FieldsealError(
                .invalidArgument,
                "There is no second System Administrator who could approve. Give another person or client that role first.")
        }
        _ = try change.roleHolders(on: connection)
    }
}
