import Model
import PostgresClient

/// What a System Administrator may do with the organization's rules for showing or setting its key: see and set them.
///
/// The initializer checks the caller's role, so the methods do not check it again.
package struct KeyControlAdministration: Sendable {
    private let session: Session

    private var organization: Organization { session.organization }
    private var caller: Caller { session.caller }
    private var deployment: Deployment { session.deployment }

    /// What a caller is going to do with the rules.
    package enum Purpose: Sendable {
        case see, set

        /// The purpose as words in the error for a caller that is refused.
        fileprivate var words: String {
            switch self {
            case .see: "see what is asked for before the key is used"
            case .set: "set what is asked for before the key is used"
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

    /// The organization's rules for showing or setting its key.
    package func current() async throws -> KeyControl { try await session.currentKeyControl() }

    /// Sets the organization's rule. If approvals are required, a less strict rule needs an approval too.
    ///
    /// - Throws: ``FieldsealError`` `.invalidArgument` for a number out of range, and if there is no second System Administrator.
    package func set(_ new: KeyControl) async throws {
        guard new.approvalSeconds.map(KeyControl.approvalRange.contains) ?? true,
            new.signInSeconds.map(KeyControl.signInRange.contains) ?? true
        else {
            throw FieldsealError(
                .invalidArgument,
                "The time for an approval is \(KeyControl.approvalRange.lowerBound) to \(KeyControl.approvalRange.upperBound) seconds, "
                    + "and the maximum age of a sign-in is \(KeyControl.signInRange.lowerBound) to "
                    + "\(KeyControl.signInRange.upperBound) seconds."
            )
        }
        let old = try await session.currentKeyControl()
        // If SQL changed the rule, the original may have been stricter than any new rule, so each new rule needs approval. The
        // command line is exempt, because its operator has the key-encryption key.
        if old.isWeakened(by: new) || !old.isKnown && caller.systemUserID != nil {
            try await session.requireControl(of: .setKeyControl, "ask for less before the key is used: \(new.words)")
        }
        try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                let current = try KeyControl.read(organization, change.grants, under: change.kek, on: connection)
                guard current == old else {
                    throw FieldsealError(
                        .concurrencyVersionMismatch, "The rules were changed meanwhile. Read them again, then repeat your change.")
                }
                if new.approvalSeconds != nil { try requireSecondAdministrator(change, on: connection) }
                try new.store(&change, by: caller, on: connection)
                try change.append(
                    SecurityEvent(.keyControlSet, .succeeded, details: new.words), by: caller, on: connection)
            }
        }
    }

    /// Throws if there is no second administrator who could approve, or if SQL may have hidden or changed rows of administrators.
    private func requireSecondAdministrator(_ change: AttestedChange, on connection: isolated PostgresConnection) throws {
        guard try change.administrators(on: connection) > 1 else {
            throw FieldsealError(
                .invalidArgument,
                "There is no second System Administrator who could approve. Give another person or client that role first.")
        }
        _ = try change.roleHolders(on: connection)
    }
}
