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

    /// The same for an operation that gives a person or a client the rights of a System Administrator, who could then approve the
    /// caller's own requests. The command line needs no approval, because the operator has the key-encryption key.
    package func requireAccessControl(_ subject: String) async throws {
        guard caller.systemUserID != nil, try await currentKeyControl().approvalSeconds != nil else { return }
        try await requireApproval(of: .giveAccess, subject, secret: nil)
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
        let awaited = try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                try approvalAwaited(operation, subject, secret, &change, on: connection)
            }
        }
        guard let awaited else { return }
        throw FieldsealError(
            .approvalAwaited,
            "A second System Administrator has to approve this first: \(subject). The request \(awaited.id.text) is open until "
                + "\(ISO8601.text(awaited.expiresOn)). Do the same again once it is approved.",
            detail: .approval(awaited.id.text))
    }

    /// - Returns: Nil if the operation was approved, or needs no approval any more.
    private func approvalAwaited(
        _ operation: Approval.Operation, _ subject: String, _ secret: String?, _ change: inout AttestedChange,
        on connection: isolated PostgresConnection
    ) throws -> Approval? {
        let control = try KeyControl.read(organization, change.grants, under: change.kek, on: connection)
        guard let seconds = control.approvalSeconds else { return nil }
        let digest = try change.kek.tag(
            label: "approval of an operation",
            over: [
                organization.id.bytes, Grant.field(operation.rawValue), Grant.field(subject),
                Grant.field(secret.map { Array($0.utf8) }),
            ])
        let own = try change.approvals(on: connection).filter { $0.requesterID == caller.systemUserID }
        if let known = own.first(where: { $0.operation == operation.rawValue && constantTimeEqual($0.digest, digest) }) {
            guard let approver = known.approver else { return known }
            try known.end(&change, on: connection)
            try change.append(
                SecurityEvent(.approvalUsed, .succeeded, details: "\(known.id.text): \(subject), approved by \(approver)"),
                by: caller, on: connection)
            return nil
        }
        guard own.count < Self.openApprovals else {
            throw FieldsealError(
                .requestQuotaExceeded,
                "The caller has \(own.count) requests for approval that are open. Have them approved or refused first.",
                retryAfter: 60)
        }
        let approval = Approval(
            id: .timeOrdered(), organizationID: organization.id, operation: operation.rawValue, subject: subject, digest: digest,
            requester: caller.actor, requesterID: caller.systemUserID, address: caller.address, created: change.now,
            expires: change.now.adding(seconds: seconds))
        try approval.insert(&change, on: connection)
        try change.append(
            SecurityEvent(.approvalRequested, .succeeded, details: "\(approval.id.text): \(subject)"), by: caller, on: connection)
        return approval
    }

    /// How many open requests one caller has at most.
    private static let openApprovals = 20

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
        if old.isWeakened(by: new) {
            try await requireControl(of: .setKeyControl, "ask for less before the key is used: \(new.words)")
        }
        try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                let current = try KeyControl.read(organization, change.grants, under: change.kek, on: connection)
                guard current == old else {
                    throw FieldsealError(.concurrencyVersionMismatch, "The rule was changed meanwhile. Look at it, then try again.")
                }
                if new.approvalSeconds != nil, try change.administrators(on: connection) < 2 {
                    throw FieldsealError(
                        .invalidArgument,
                        "There is no second System Administrator who could approve. Give another person or client that role first.")
                }
                try new.store(&change, by: caller, on: connection)
                try change.append(
                    SecurityEvent(.keyControlSet, .succeeded, details: new.words), by: caller, on: connection)
            }
        }
    }
}

extension AttestedChange {
    /// Refuses to give the rights of a System Administrator by records, if approvals are required. The requester could then approve
    /// their own requests.
    package mutating func refuseGivingAccess(by caller: Caller, on connection: isolated PostgresConnection) throws {
        guard caller.systemUserID != nil,
            try KeyControl.read(organization, grants, under: kek, on: connection).approvalSeconds != nil
        else { return }
        throw FieldsealError(
            .privilegeDenied,
            "While a second System Administrator approves what is done with the key, records don't give the rights of one. Give the role "
                + "in the console, which asks for an approval, or on the command line.")
    }
}
