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
    /// - Throws: ``FieldsealError``: `.privilegeDenied` for any role but Email Router, and for settings that were not changed by
    ///   the service; `.concurrencyVersionMismatch` for a mailbox that this router has not leased, or that is disabled;
    ///   `.profileInactive` for a mailbox that is not approved; `.profileNotAssociated` when there is no credential;
    ///   `.keyRequired`.
    package static func releaseCredential(
        _ mailbox: UUID, _ direction: MailDirection, host: String, allowsPlaintext: Bool, for session: Session, _ mail: MailService
    ) async throws -> Credential {
        do throws(any Error) {
            let leases = try MailboxLeases(session, mail)
            let released = try await session.deployment.pool.withConnection { connection in
                try connection.transaction { try leases.release(mailbox, direction, host, allowsPlaintext, on: connection) }
            }
            return try await leases.authorized(released)
        } catch let refusal as CredentialSource.NotAuthorized {
            try await session.recordRefusal(mailbox, direction, refusal.error, alerts: true)
            throw refusal.error
        } catch let error as FieldsealError {
            try await session.recordRefusal(mailbox, direction, error, alerts: false)
            throw error
        }
    }

    private func release(
        _ mailbox: UUID, _ direction: MailDirection, _ host: String, _ allowsPlaintext: Bool,
        on connection: isolated PostgresConnection
    ) throws -> ReleasedCredential {
        try session.confirm(on: connection)
        try session.renewLease(mailbox, host, for: .signingIn(direction), on: connection)
        let (source, key) = try authorizedSource(of: mailbox, direction, on: connection)
        let released = try source.released(with: key.key, allowsPlaintext: allowsPlaintext, in: organization)
        let credential = released.credential
        if credential.authentication == AuthenticationProtocol.oauth.rawValue, released.source != nil,
            mail.tokens.application(for: credential.server) == nil
        {
            throw FieldsealError(
                .profileNotAssociated,
                "The profile signs in by OAuth, and mail.applicationsFile names no application for \(credential.server.quotedForMessage): "
                    + "what is sealed is exchanged for an access token, and is not released itself.")
        }
        try session.record(
            SecurityEvent(
                .credentialReleased, .succeeded, keyVersion: key.version,
                details:
                    "\(direction.rawValue), mailbox \(mailbox.text), from \(released.source?.entity ?? "none"), for \(credential.server):\(credential.port)"
            ), on: connection)
        return released
    }

    /// Reads the cell of a mailbox whose settings the service authorized.
    private func authorizedSource(
        of mailbox: UUID, _ direction: MailDirection, on connection: isolated PostgresConnection
    ) throws -> (CredentialSource, Session.CurrentKey) {
        do {
            let (source, key) = try currentSource(of: mailbox, direction, on: connection)
            try source.requireAuthorized(session.state.grants, in: organization, under: deployment.kek)
            return (source, key)
        } catch is CredentialSource.NotAuthorized {
            // The settings may have changed after the session began. Then the session's list is older than they are.
            let (source, key) = try currentSource(of: mailbox, direction, on: connection)
            let now = try OrganizationState.read(organization.name, in: deployment, on: connection)
            try source.requireAuthorized(now.grants, in: organization, under: deployment.kek)
            return (source, key)
        }
    }

    /// Reads a mailbox's settings and cells and their key version in one statement. Returns them with that version's key.
    private func currentSource(
        of mailbox: UUID, _ direction: MailDirection, on connection: isolated PostgresConnection
    ) throws -> (CredentialSource, Session.CurrentKey) {
        for _ in 0..<Self.readAttempts {
            let key = try currentKey(on: connection)
            guard let source = try CredentialSource.read(mailbox, direction, in: organization, on: connection) else {
                throw FieldsealError(.profileNotAssociated, "The mailbox has no e-mail server profile.")
            }
            // A key change was committed in between: the cells belong to another key.
            if source.keyVersion == key.version { return (source, key) }
        }
        throw FieldsealError(
            .unexpected, "The organization's key changed \(Self.readAttempts) times while a credential was read. Try again.",
            retryAfter: 1)
    }

    /// Each attempt fails only when another key change was committed meanwhile.
    private static let readAttempts = 16
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
                let reason = alerts ? "settings not authorized" : error.code.rawValue
                try record(
                    SecurityEvent(
                        .credentialReleased, .refused, details: "\(direction.rawValue), mailbox \(mailbox.text): \(reason)"
                    ), on: connection)
            }
        }
    }
}
