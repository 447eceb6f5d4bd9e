import CellCrypto
package import Foundation
import JSON
import Model
import PostgresClient
package import RouterProtocol
package import Tenancy

extension MailboxLeases {
    /// Releases the credential of a leased mailbox. No other function lets a plaintext leave the server.
    ///
    /// - Throws: ``FieldsealError``. `.privilegeDenied` for roles other than Email Router, and for settings that SQL changed.
    ///   `.concurrencyVersionMismatch` for a mailbox that this router has not leased, or that is disabled. `.profileInactive`
    ///   for a mailbox that is not approved. `.profileNotAssociated` when there is no credential. `.keyRequired` when the
    ///   organization's key is missing.
    package static func releaseCredential(
        _ mailbox: UUID, _ direction: MailDirection, host: String, allowsPlaintext: Bool, for session: Session, _ mail: MailService
    ) async throws -> Credential {
        do throws(any Error) {
            return try await StaleSession.retrying { wasStale in
                let leases = try MailboxLeases(wasStale ? try await session.renewed() : session, mail)
                return try await leases.authorized(try await leases.release(mailbox, direction, host, allowsPlaintext))
            }
        } catch let refusal as CredentialSource.NotAuthorized {
            try await session.recordRefusal(mailbox, direction, refusal.error, alerts: true)
            throw refusal.error
        } catch let error as FieldsealError {
            try await session.recordRefusal(mailbox, direction, error, alerts: false)
            throw error
        }
    }

    /// Why a release begins again, in another transaction.
    private enum Repetition: Error {
        /// A key change was committed between the reads of the key and of the cells.
        case keyChanged
        /// The session's list does not authorize the settings. The settings may have changed after the session began.
        case settingsChanged
    }

    /// The list of authorized settings that is used: the session's, or one that is read again.
    private enum AuthorizedSettings { case ofSession, readAgain }

    /// Reads the cells once in each transaction. A second read in the same transaction might not see the generation that a key
    /// change made in between. PostgreSQL looks for new partitions only when a transaction takes its first lock of a table.
    private func release(
        _ mailbox: UUID, _ direction: MailDirection, _ host: String, _ allowsPlaintext: Bool
    ) async throws -> ReleasedCredential {
        var settings = AuthorizedSettings.ofSession
        for _ in 0..<Self.readAttempts {
            do {
                let settings = settings
                return try await session.deployment.pool.withConnection { connection in
                    try connection.transaction {
                        try release(mailbox, direction, host, allowsPlaintext, settings, on: connection)
                    }
                }
            } catch Repetition.keyChanged {
                continue
            } catch Repetition.settingsChanged {
                settings = .readAgain
            }
        }
        throw FieldsealError(
            .unexpected, "The organization's key changed \(Self.readAttempts) times while a credential was read. Try again.",
            retryAfter: 1)
    }

    /// How many attempts at a release are made. One attempt may fail because the session's list is out of date. Any other attempt
    /// fails only when a key change was committed meanwhile.
    private static let readAttempts = 4

    private func release(
        _ mailbox: UUID, _ direction: MailDirection, _ host: String, _ allowsPlaintext: Bool, _ settings: AuthorizedSettings,
        on connection: isolated PostgresConnection
    ) throws -> ReleasedCredential {
        try session.renewLease(mailbox, host, for: .signingIn(direction), on: connection)
        let (source, key) = try authorizedSource(of: mailbox, direction, settings, on: connection)
        let released = try source.released(with: key.key, allowsPlaintext: allowsPlaintext, in: organization)
        let credential = released.credential
        if credential.authentication == AuthenticationProtocol.oauth.rawValue, released.source != nil,
            mail.tokens.application(for: credential.server) == nil
        {
            throw FieldsealError(
                .profileNotAssociated,
                "The profile signs in by OAuth, and mail.applicationsFile names no application for \(credential.server.quotedForMessage): "
                    + "the stored password can only be exchanged for an access token, and is not released itself.")
        }
        try session.record(
            SecurityEvent(
                .credentialReleased, .succeeded, keyVersion: key.version,
                details:
                    "\(direction.rawValue), mailbox \(mailbox.text), from \(released.source?.entity ?? "none"), for \(credential.server):\(credential.port)"
            ), ifUnchangedSince: session.state, on: connection)
        return released
    }

    /// Reads the cell of a mailbox whose settings the service authorized.
    private func authorizedSource(
        of mailbox: UUID, _ direction: MailDirection, _ settings: AuthorizedSettings, on connection: isolated PostgresConnection
    ) throws -> (CredentialSource, Session.CurrentKey) {
        let key = try currentKey(on: connection)
        // One statement reads a mailbox's settings and cells and their key version.
        guard let source = try CredentialSource.read(mailbox, direction, in: organization, on: connection) else {
            throw FieldsealError(.profileNotAssociated, "The mailbox has no e-mail server profile.")
        }
        guard source.keyVersion == key.version else { throw Repetition.keyChanged }
        let grants =
            switch settings {
            case .ofSession: session.state.grants
            case .readAgain: try OrganizationState.read(organization.name, in: deployment, on: connection).grants
            }
        do {
            try source.requireAuthorized(grants, in: organization, under: deployment.kek)
        } catch is CredentialSource.NotAuthorized where settings == .ofSession {
            throw Repetition.settingsChanged
        }
        return (source, key)
    }
}

extension Session {
    fileprivate func recordRefusal(_ mailbox: UUID, _ direction: MailDirection, _ error: FieldsealError, alerts: Bool) async throws
    {
        try await deployment.pool.withConnection { connection in
            try connection.transaction {
                if alerts {
                    try alert(
                        .mailbox, mailbox, level: .error, code: AlertCode.notAuthorized, text: error.message,
                        details: error.code.rawValue, on: connection)
                }
                // If the settings lack something, the mailbox shows the error's message. The security event gives the same reason.
                let lacksSettings = [.profileNotAssociated, .sslRequired, .notImplemented].contains(error.code)
                let reason = alerts ? "settings not authorized" : lacksSettings ? error.message : error.code.rawValue
                try record(
                    SecurityEvent(
                        .credentialReleased, .refused, details: "\(direction.rawValue), mailbox \(mailbox.text): \(reason)"
                    ), on: connection)
            }
        }
    }
}
