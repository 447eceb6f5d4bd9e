import CellCrypto
import Foundation
import Model
import PostgresClient
import Tenancy

// Exchanges a stored secret for an access token. A refresh token may be valid for one use only, so one server at a time exchanges
// it: the server that has claimed the secret, by a row in `config.token_exchange`. An authorization server may be slow, so the
// exchange holds no database connection.
extension MailboxLeases {
    /// Seconds after which a server's claim to an exchange expires, in case that server has ended. An exchange takes less time.
    private static let claimSeconds = 45.0
    /// How long a request waits for another server's exchange.
    private static let claimPatience = Duration.seconds(15)

    /// An access token for a stored secret: a cached one, or a new one.
    ///
    /// - Throws: ``FieldsealError``; `.unexpected` with the seconds to wait while another server exchanges the same secret.
    func exchanged(_ source: MailOAuthTokens.Source, _ application: MailOAuthTokens.Application, _ tenant: String?) async throws
        -> SecretBytes
    {
        let leases = self
        // A separate task that no caller cancels: a new refresh token must be sealed even if all callers disconnected.
        let token = try await mail.tokens.exchanges.value(of: source) {
            try await leases.exchangeUnderClaim(source, application, tenant)
        }
        guard let token else {
            throw FieldsealError(
                .unexpected, "Many requests wait for the access token of this mailbox already. Try again.", retryAfter: 5)
        }
        return token
    }

    private func exchangeUnderClaim(
        _ source: MailOAuthTokens.Source, _ application: MailOAuthTokens.Application, _ tenant: String?
    ) async throws -> SecretBytes {
        let tokens = mail.tokens
        let claim = UUID()
        let deadline = ContinuousClock.now + Self.claimPatience
        while true {
            let (sealed, isClaimed) = try await deployment.pool.withConnection { connection in
                // The exchange is claimed before the secret is read, because another server may have stored a new refresh token
                // meanwhile.
                let isClaimed = try self.claim(source, claim, on: connection)
                return (try current(source, on: connection), isClaimed)
            }
            if let token = tokens.token(for: source, sealed, of: application, tenant: tenant) {
                if isClaimed { try await release(source, claim) }
                return token
            }
            if isClaimed { return try await exchange(sealed, source, application, tenant, claim) }
            guard ContinuousClock.now < deadline else {
                throw FieldsealError(
                    .unexpected, "Another server is exchanging the password of this mailbox for an access token. Try again.",
                    retryAfter: 5)
            }
            try await Task.sleep(for: .milliseconds(200))
        }
    }

    private func exchange(
        _ sealed: SecretBytes, _ source: MailOAuthTokens.Source, _ application: MailOAuthTokens.Application, _ tenant: String?,
        _ claim: UUID
    ) async throws -> SecretBytes {
        let tokens = mail.tokens
        let answer: MailOAuthTokens.Answer
        do {
            answer = try await tokens.exchange(sealed, by: application, tenant: tenant)
        } catch {
            // If the release fails, the claim to the exchange expires.
            try? await release(source, claim)
            throw error
        }
        let next = answer.refreshToken.flatMap { $0.isEqual(to: sealed) ? nil : $0 }
        if let next { try await seal(next, after: sealed, in: source) }
        tokens.remember(answer, for: source, next ?? sealed, of: application, tenant: tenant)
        try? await release(source, claim)
        return answer.token
    }

    /// Stores the successor of a used refresh token. Without the new token the mailbox can't sign in again, so the write is retried
    /// for half the time that the claim to the exchange is valid.
    private func seal(_ next: SecretBytes, after sealed: SecretBytes, in source: MailOAuthTokens.Source) async throws {
        let deadline = ContinuousClock.now + .seconds(Self.claimSeconds / 2)
        while true {
            do {
                // Storing the token is the program's own work, so no caller's share of the connections limits it.
                return try await PoolBorrower.$current.withValue(nil) {
                    try await deployment.sweepMarks.ensure(organization, in: deployment.pool)
                    try await deployment.pool.withConnection { try replace(sealed, with: next, in: source, on: $0) }
                }
            } catch {
                let isTransient = error is PoolError || (error as? PostgresError)?.isConnectionLoss == true
                guard isTransient, ContinuousClock.now < deadline else { throw error }
                try await Task.sleep(for: .milliseconds(250))
            }
        }
    }

    /// Claims the exchange of a password, unless another server has claimed it.
    private func claim(_ source: MailOAuthTokens.Source, _ claim: UUID, on connection: isolated PostgresConnection) throws -> Bool {
        try !connection.query(
            """
            INSERT INTO config.token_exchange AS t (organization_id, entity, record_id, attribute, claim, expires_on)
            VALUES ($1, $2, $3, $4, $5, now() + $6 * interval '1 second')
            ON CONFLICT (organization_id, entity, record_id, attribute) DO UPDATE
                SET claim = excluded.claim, expires_on = excluded.expires_on
                -- A claim that ends later than a server's claim can end was not written by a server, so it is replaced.
                WHERE t.expires_on NOT BETWEEN now() AND excluded.expires_on + $6 * interval '1 second' OR t.claim = excluded.claim
            RETURNING 1
            """,
            [
                .uuid(source.organization), .text(source.entity), .uuid(source.record), .text(source.attribute), .uuid(claim),
                .double(Self.claimSeconds),
            ]
        ).isEmpty
    }

    private func release(_ source: MailOAuthTokens.Source, _ claim: UUID) async throws {
        try await deployment.pool.withConnection { connection in
            _ = try connection.query(
                """
                DELETE FROM config.token_exchange
                 WHERE organization_id = $1 AND entity = $2 AND record_id = $3 AND attribute = $4 AND claim = $5
                """,
                [
                    .uuid(source.organization), .text(source.entity), .uuid(source.record), .text(source.attribute), .uuid(claim),
                ])
        }
    }
}
