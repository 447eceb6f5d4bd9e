import CellCrypto
package import Foundation
import JSON
import Model
package import PostgresClient
package import Tenancy

// Public keys of clients, which authenticate with assertions (RFC 7523) instead of a secret.
extension ClientRegistry {
    /// How many keys one client may have. An assertion is checked with each of them.
    static let keyLimit = 10

    /// A key in the output of `client list`.
    package struct KeyEntry: Sendable {
        package let id: UUID
        /// For example `RSA 2048`.
        package let kind: String
        /// SHA-256 of the key.
        package let fingerprint: String
        package let expiresOn: Date?
        /// SHA-256 of the certificate for the TLS handshake; nil for a key that signs assertions.
        package let certificate: String?
        /// Whether tokens are bound to the certificate.
        package let bindsTokens: Bool
        /// Whether this service wrote the row.
        package let isAuthentic: Bool
    }

    /// A row of `config.api_client_key`.
    package struct KeyRow: Sendable {
        package let id: UUID
        let client: UUID
        let publicKey: [UInt8]
        let expiresOn: PostgresMoment?
        /// SHA-256 of the certificate for the TLS handshake; nil for a key that signs assertions.
        let certificate: [UInt8]?
        let bindsTokens: Bool

        /// Migrations that make tags read rows that lack the newest columns.
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

    /// Adds a key to a client, within a change of the attested state.
    func addKey(
        _ key: ClientKey, to client: UUID, by caller: Caller, _ change: inout AttestedChange,
        on connection: isolated PostgresConnection
    ) throws -> UUID {
        if let expiresOn = key.expiresOn, expiresOn <= Date() {
            throw FieldsealError(
                .invalidArgument, "The certificate expired on \(ISO8601.text(expiresOn)). Give one that has not, or a public key.")
        }
        let count: Int = try connection.query(
            "SELECT count(*) FROM config.api_client_key WHERE client_id = $1", [.uuid(client)])[0].decode(0)
        guard count < Self.keyLimit else {
            throw FieldsealError(
                .invalidArgument, "A client has \(Self.keyLimit) keys at most. Remove one first: fieldseal client remove-key.")
        }
        let row = KeyRow(
            id: .timeOrdered(), client: client, publicKey: key.der,
            expiresOn: key.expiresOn.map { PostgresMoment(seconds: $0.timeIntervalSince1970) },
            certificate: key.shownCertificate, bindsTokens: key.bindsTokens)
        do {
            _ = try connection.query(
                """
                INSERT INTO config.api_client_key
                    (key_id, client_id, public_key, expires_on, tag, created_by, certificate_hash, binds_tokens)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                """,
                [
                    .uuid(row.id), .uuid(client), .bytes(row.publicKey), .moment(row.expiresOn),
                    .bytes(try change.grant(row.grant)), .text(caller.actor), .bytes(row.certificate), .bool(row.bindsTokens),
                ])
        } catch let error as PostgresError where error.state == .uniqueViolation {
            throw FieldsealError(.duplicateRecord, "The client has this key already.")
        }
        return row.id
    }

    /// Adds a key to an existing client.
    func addKey(
        _ key: ClientKey, to nameOrID: String, of organization: Organization, by caller: Caller,
        on connection: isolated PostgresConnection
    ) throws -> UUID {
        try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
            let client = try Self.row(nameOrID, of: organization, in: change.grants, under: change.kek, on: connection)
            try change.requireAccessControl(
                to: client, "add the public key with the SHA-256 \(key.fingerprint) to the client", by: caller, on: connection)
            let id = try addKey(key, to: client.id, by: caller, &change, on: connection)
            try change.append(
                SecurityEvent(.clientKeyAdded, .succeeded, details: "\(client.name), \(key.kind), SHA-256 \(key.fingerprint)"),
                by: caller, on: connection)
            return id
        }
    }

    /// Removes a key. Assertions that it signs are refused from now on.
    ///
    /// - Throws: ``FieldsealError`` when the client has no key with that id.
    func removeKey(
        _ id: UUID, of nameOrID: String, in organization: Organization, by caller: Caller,
        on connection: isolated PostgresConnection
    ) throws {
        try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
            let client = try Self.row(nameOrID, of: organization, on: connection)
            let removed = try connection.query(
                "DELETE FROM config.api_client_key WHERE key_id = $1 AND client_id = $2", [.uuid(id), .uuid(client.id)])
            // If SQL deleted the row before and restores it, it must grant nothing.
            let isElsewhere = try !connection.query("SELECT FROM config.api_client_key WHERE key_id = $1", [.uuid(id)]).isEmpty
            guard try removed.affectedRows == 1 || !isElsewhere && change.grants.names(KeyRow.name(id)) else {
                throw FieldsealError(
                    .objectDoesNotExist, "The client \(client.name) has no key \(id.text); see `fieldseal client list`.")
            }
            try change.remove(KeyRow.name(id))
            try change.append(
                SecurityEvent(.clientKeyRemoved, .succeeded, details: "\(client.name), \(id.text)"), by: caller, on: connection)
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

    /// Whether one of the client's keys signed an assertion that was not used before.
    func accepts(
        _ assertion: ClientAssertion, of client: UUID, in state: OrganizationState, on connection: isolated PostgresConnection
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
        guard isSigned else { return false }
        let used = try connection.query(
            "INSERT INTO config.used_assertion (assertion_hash, expires_on) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            [.bytes(assertion.replayKey), .timestamp(assertion.expiresOn)])
        guard used.affectedRows == 1 else { throw AssertionProblem("was used before; make a new one, with a jti of its own") }
        return true
    }

    /// The client's row for its certificate in the TLS handshake; nil for another certificate.
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

    /// Whether tokens for a client's certificate are bound to it.
    package func bindsTokens(_ certificate: [UInt8], client: UUID, of organization: Organization) async throws -> Bool {
        try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
            // Without its row the certificate was removed or expired, and its tokens must not become bearer tokens.
            return try row(of: certificate, of: client, in: state, on: connection)?.bindsTokens ?? true
        }
    }
}

extension ClientKey {
    /// SHA-256 of the client's certificate; nil for a key that signs assertions.
    fileprivate var shownCertificate: [UInt8]? {
        if case .tls = use { return certificateHash }
        return nil
    }

    fileprivate var bindsTokens: Bool {
        if case .tls(let bindsTokens) = use { return bindsTokens }
        return false
    }
}
