import CellCrypto
package import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

// Secrets of clients.
extension ClientAdministration {
    /// The default number of seconds for which the previous secret is still accepted.
    package static let overlap = 86_400

    /// A secret in the output of `client list`. The secret itself is not stored.
    package struct SecretEntry: Sendable {
        package let id: UUID
        package let createdOn: Date
        /// When the secret expires; nil if it does not.
        package let expiresOn: Date?
        /// Whether this service wrote the row.
        package let isAuthentic: Bool
    }

    /// The secrets of an organization's clients, by client, the newest first.
    func secrets(_ state: OrganizationState, on connection: isolated PostgresConnection) throws -> [UUID: [SecretEntry]] {
        let rows = try connection.query(
            """
            SELECT s.secret_id, s.salt, s.verifier, s.expires_on, s.tag, c.client_id, s.created_on
              FROM config.api_client_secret AS s JOIN config.api_client AS c USING (client_id)
             WHERE c.organization_id = $1 ORDER BY s.created_on DESC
            """, [.uuid(state.organization.id)])
        return try rows.reduce(into: [:]) { entries, row in
            let client: UUID = try row.decode(5)
            let (secret, tag) = try ClientRegistry.secretRow(row, of: client)
            entries[client, default: []].append(
                SecretEntry(
                    id: secret.id, createdOn: try row.decode(6), expiresOn: secret.expiresOn.map { $0.date },
                    isAuthentic: try state.grants.authenticates(secret.grant, tag: tag, under: deployment.kek)))
        }
    }

    /// Adds a secret to a client, within a change of the attested state.
    func addSecret(
        _ secret: String,
        to client: UUID,
        seconds: Int?,
        _ change: inout AttestedChange,
        on connection: isolated PostgresConnection
    ) throws {
        let salt = try randomBytes(count: 16)
        let row = ClientRegistry.SecretRow(
            id: .timeOrdered(), client: client, salt: salt, verifier: try ClientRegistry.verifier(of: secret, salt: salt),
            expiresOn: seconds.map { change.now.adding(seconds: $0) })
        _ = try connection.query(
            """
            INSERT INTO config.api_client_secret (secret_id, client_id, salt, verifier, expires_on, tag) VALUES ($1, $2, $3, $4, $5, $6)
            """,
            [
                .uuid(row.id), .uuid(client), .bytes(salt), .bytes(row.verifier), .moment(row.expiresOn),
                .bytes(try change.grant(row.grant)),
            ])
    }

    /// Gives a client a new secret. The previous secret ends after `overlap` seconds, so that there is time to reconfigure the
    /// client. Older secrets end at once, so at most two are valid.
    ///
    /// - Parameters:
    ///   - overlap: Seconds for which the previous secret is accepted; 0 ends it at once.
    ///   - seconds: The lifetime of the new secret; nil for no expiry.
    ///   - deliver: Receives the new secret. If this function throws, nothing is changed.
    /// - Returns: The secret, which is shown once and not stored.
    package func rotateSecret(
        of id: UUID, overlap: Int = Self.overlap, seconds: Int? = nil, deliver: @Sendable (String) throws -> Void = { _ in }
    ) async throws -> String {
        let secret = Data(try randomBytes(count: 32)).base64URL
        try await session.requestingApproval { connection in
            try change(id, on: connection) { row, change in
                guard row.disabledOn == nil else { throw Self.isDisabled(row.name) }
                try change.requireAccessControl(to: row, "give another secret to the client", by: caller, on: connection)
                try endSecrets(of: id, keepingNewestFor: overlap, &change, on: connection)
                try addSecret(secret, to: id, seconds: seconds, &change, on: connection)
                try change.append(
                    SecurityEvent(.clientChanged, .succeeded, details: "\(row.name): another secret"), by: caller, on: connection)
                try deliver(secret)
            }
        }
        return secret
    }

    /// Ends all secrets of a client at once, except the newest one that this service wrote. This newest secret ends after `overlap`
    /// seconds.
    private func endSecrets(
        of id: UUID, keepingNewestFor overlap: Int, _ change: inout AttestedChange, on connection: isolated PostgresConnection
    ) throws {
        let ending = try overlap > 0 ? newestSecret(of: id, endingAfter: overlap, change, on: connection) : nil
        let ended = try connection.query(
            "DELETE FROM config.api_client_secret WHERE client_id = $1 AND secret_id IS DISTINCT FROM $2 RETURNING secret_id",
            [.uuid(id), .uuid(ending?.id)])
        for row in ended { try change.remove(ClientRegistry.SecretRow.name(try row.decode(0))) }
        // Ending the group also ends secrets whose rows were hidden by SQL.
        try change.end(ClientRegistry.SecretRow.all(of: id))
        guard let ending else { return }
        _ = try connection.query(
            "UPDATE config.api_client_secret SET expires_on = $2, tag = $3 WHERE secret_id = $1",
            [.uuid(ending.id), .moment(ending.expiresOn), .bytes(try change.grant(ending.grant))])
    }

    /// The newest of a client's secrets that this service wrote, with an expiry at most `seconds` from now.
    private func newestSecret(
        of client: UUID, endingAfter seconds: Int, _ change: AttestedChange, on connection: isolated PostgresConnection
    ) throws -> ClientRegistry.SecretRow? {
        // Ids are ordered by time and attested, so the highest id is the newest secret.
        let rows = try connection.query(
            """
            SELECT secret_id, salt, verifier, expires_on, tag, least(expires_on, now() + $2 * interval '1 second')
              FROM config.api_client_secret WHERE client_id = $1 ORDER BY secret_id DESC FOR UPDATE
            """, [.uuid(client), .double(Double(seconds))])
        for row in rows {
            let (secret, tag) = try ClientRegistry.secretRow(row, of: client)
            guard try change.grants.authenticates(secret.grant, tag: tag, under: change.kek) else { continue }
            return ClientRegistry.SecretRow(
                id: secret.id, client: client, salt: secret.salt, verifier: secret.verifier, expiresOn: try row.decodeIfPresent(5))
        }
        return nil
    }

    /// Ends one secret of a client at once. Tokens that were issued for the secret stay valid until they expire, after an hour at
    /// most, or until the client is disabled.
    ///
    /// - Throws: ``FieldsealError`` for a secret of another client, and for the client's only credential.
    package func endSecret(_ secret: UUID, of id: UUID) async throws {
        try await deployment.pool.withConnection { connection in
            try change(id, on: connection) { row, change in
                let secrets = try connection.query(
                    """
                    SELECT secret_id, expires_on IS NULL OR expires_on > now() FROM config.api_client_secret
                     WHERE client_id = $1 FOR UPDATE
                    """, [.uuid(id)]
                ).map { (id: try $0.decode(0, as: UUID.self), isValid: try $0.decode(1, as: Bool.self)) }
                let found = secrets.first { $0.id == secret }
                // A secret whose row was hidden by SQL can be ended too.
                guard try found != nil || change.names(ClientRegistry.SecretRow.name(secret)) else {
                    throw FieldsealError(.objectDoesNotExist, "The client has no such secret. It may have ended already.")
                }
                let hasKey: Bool = try connection.query(
                    "SELECT EXISTS (SELECT FROM config.api_client_key WHERE client_id = $1)", [.uuid(id)])[0].decode(0)
                guard found?.isValid != true || hasKey || secrets.contains(where: { $0.id != secret && $0.isValid }) else {
                    throw FieldsealError(
                        .invalidArgument, "This is the client's only secret. Create another one first, or disable the client.")
                }
                _ = try connection.query("DELETE FROM config.api_client_secret WHERE secret_id = $1", [.uuid(secret)])
                try change.remove(ClientRegistry.SecretRow.name(secret))
                try change.append(
                    SecurityEvent(.clientChanged, .succeeded, details: "\(row.name): a secret ended"), by: caller, on: connection)
            }
        }
    }
}
