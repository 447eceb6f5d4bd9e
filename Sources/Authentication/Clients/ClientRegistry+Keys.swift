import CellCrypto
package import Foundation
import JSON
package import PostgresClient
package import Tenancy

// Public keys of clients, which authenticate with assertions (RFC 7523) instead of a secret.
extension ClientRegistry {
    /// How many keys one client may have. An assertion is checked with each key.
    static let keyLimit = 10

    /// A row of `config.api_client_key`.
    package struct KeyRow: Sendable {
        package let id: UUID
        let client: UUID
        let publicKey: [UInt8]
        let expiresOn: PostgresMoment?
        /// SHA-256 of the certificate for the TLS handshake; nil for a key that signs assertions.
        let certificate: [UInt8]?
        let bindsTokens: Bool

        /// Migrations that write tags also read these columns in an older schema, which may lack the newest of them.
        static let columns = """
            k.key_id, k.client_id, k.public_key, k.expires_on, k.tag, (to_jsonb(k) ->> 'certificate_hash')::bytea, \
            coalesce((to_jsonb(k) ->> 'binds_tokens')::boolean, false)
            """
        static let columnCount = 7

        /// Reads ``columns``.
        static func read(_ row: PostgresRow) throws -> (row: KeyRow, tag: [UInt8]) {
            func bytes(_ column: Int) throws -> [UInt8] { try row.decode(column, as: PostgresBytes.self).bytes }
            let key = KeyRow(
                id: try row.decode(0), client: try row.decode(1), publicKey: try bytes(2), expiresOn: try row.decodeIfPresent(3),
                certificate: row.isNull(5) ? nil : try bytes(5), bindsTokens: try row.decode(6))
            return (key, try bytes(4))
        }

        static func name(_ id: UUID) -> Grant.Name { Grant.Name(.clientKey, [id.bytes]) }

        package var grant: Grant {
            Grant(
                Self.name(id),
                [client.bytes, publicKey, Grant.field(expiresOn)] + (certificate.map { [$0, [bindsTokens ? 1 : 0]] } ?? []))
        }
    }

    /// Every key of an organization's clients, by client.
    package static func keyRows(of organization: Organization, on connection: isolated PostgresConnection) throws -> [(
        row: KeyRow, tag: [UInt8], clientName: String
    )] {
        try connection.query(
            """
            SELECT \(KeyRow.columns), c.name FROM config.api_client_key AS k JOIN config.api_client AS c USING (client_id)
             WHERE c.organization_id = $1 ORDER BY c.name, k.created_on
            """, [.uuid(organization.id)]
        ).map { row in
            let (key, tag) = try KeyRow.read(row)
            return (key, tag, try row.decode(KeyRow.columnCount))
        }
    }

    /// Whether one of the client's keys signed an assertion. Records the use of the assertion, if `isRecorded`.
    func accepts(
        _ assertion: ClientAssertion, of client: UUID, isRecorded: Bool, in state: OrganizationState,
        on connection: isolated PostgresConnection
    ) throws -> Bool {
        guard assertion.client == client.text else { return false }
        let rows = try connection.query(
            """
            SELECT \(KeyRow.columns) FROM config.api_client_key AS k
             WHERE k.client_id = $1 AND (k.expires_on IS NULL OR k.expires_on > now()) LIMIT $2
            """, [.uuid(client), .int64(Int64(Self.keyLimit))])
        let isSigned = try rows.contains { row in
            let (key, tag) = try KeyRow.read(row)
            guard try key.certificate == nil && state.grants.authenticates(key.grant, tag: tag, under: deployment.kek) else {
                return false
            }
            return try assertion.isSigned(by: ClientKey(der: key.publicKey, expiresOn: nil))
        }
        guard isSigned, isRecorded else { return isSigned }
        let used = try connection.query(
            "INSERT INTO config.used_assertion (assertion_hash, expires_on) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            [.bytes(assertion.replayKey), .timestamp(assertion.expiresOn)])
        guard used.affectedRows == 1 else { throw AssertionProblem("was used before. Sign a new assertion with another jti") }
        return true
    }

    /// The key row of a client for this certificate of the TLS handshake; nil if the client has no such certificate.
    func row(
        of certificate: [UInt8], of client: UUID, in state: OrganizationState, on connection: isolated PostgresConnection
    ) throws -> KeyRow? {
        let rows = try connection.query(
            """
            SELECT \(KeyRow.columns) FROM config.api_client_key AS k
             WHERE k.client_id = $1 AND (k.expires_on IS NULL OR k.expires_on > now()) LIMIT $2
            """, [.uuid(client), .int64(Int64(Self.keyLimit))])
        for row in rows {
            let (key, tag) = try KeyRow.read(row)
            guard let known = key.certificate, constantTimeEqual(known, certificate),
                try state.grants.authenticates(key.grant, tag: tag, under: deployment.kek)
            else { continue }
            return key
        }
        return nil
    }

    /// Whether tokens for a client's certificate are bound to the certificate.
    package func bindsTokens(_ certificate: [UInt8], client: UUID, of organization: Organization) async throws -> Bool {
        try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
            // If there is no row, the certificate was removed or has expired. The tokens for this certificate must not become
            // bearer tokens, so they count as bound.
            return try row(of: certificate, of: client, in: state, on: connection)?.bindsTokens ?? true
        }
    }
}
