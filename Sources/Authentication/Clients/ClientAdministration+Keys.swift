import CellCrypto
package import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

// Public keys of clients, which authenticate with assertions (RFC 7523) instead of a secret.
extension ClientAdministration {
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

    /// The keys of an organization's clients, by client.
    func keys(_ state: OrganizationState, on connection: isolated PostgresConnection) throws -> [UUID: [KeyEntry]] {
        try ClientRegistry.keyRows(of: state.organization, on: connection).reduce(into: [:]) { entries, found in
            let row = found.row
            let key = try? ClientKey(der: row.publicKey, expiresOn: nil)
            entries[row.client, default: []].append(
                KeyEntry(
                    id: row.id, kind: key?.kind ?? "unknown", fingerprint: key?.fingerprint ?? "",
                    expiresOn: row.expiresOn.map { $0.date },
                    certificate: row.certificate.map { hexadecimal($0) },
                    bindsTokens: row.bindsTokens,
                    isAuthentic: try state.grants.authenticates(row.grant, tag: found.tag, under: deployment.kek)))
        }
    }

    /// Adds a public key to a client, given by its name or id. The client signs its assertions with the private key (RFC 7523).
    ///
    /// - Returns: The key's id.
    package func addKey(_ key: ClientKey, to nameOrID: String) async throws -> UUID {
        try await session.requestingApproval { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                let client = try ClientRegistry.row(
                    nameOrID, of: organization, in: change.grants, under: change.kek, on: connection)
                try change.requireAccessControl(
                    to: client, "add the public key with the SHA-256 \(key.fingerprint) to the client", by: caller, on: connection)
                let id = try addKey(key, to: client.id, &change, on: connection)
                try change.append(
                    SecurityEvent(.clientKeyAdded, .succeeded, details: "\(client.name), \(key.kind), SHA-256 \(key.fingerprint)"),
                    by: caller, on: connection)
                return id
            }
        }
    }

    /// Adds a key to a client, within a change of the attested state.
    func addKey(
        _ key: ClientKey, to client: UUID, _ change: inout AttestedChange, on connection: isolated PostgresConnection
    ) throws -> UUID {
        if let expiresOn = key.expiresOn, expiresOn <= Date() {
            throw FieldsealError(
                .invalidArgument,
                "The certificate expired on \(ISO8601.text(expiresOn)). Give a valid certificate, or a public key.")
        }
        let count: Int = try connection.query(
            "SELECT count(*) FROM config.api_client_key WHERE client_id = $1", [.uuid(client)])[0].decode(0)
        guard count < ClientRegistry.keyLimit else {
            throw FieldsealError(
                .invalidArgument,
                "A client has \(ClientRegistry.keyLimit) keys at most. Remove one first: fieldseal client remove-key.")
        }
        let row = ClientRegistry.KeyRow(
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
            throw FieldsealError(.duplicateRecord, "The client already has this key.")
        }
        return row.id
    }

    /// Removes a public key of a client. Assertions that are signed with this key are refused from now on. Tokens that were issued
    /// before the removal stay valid until they expire.
    ///
    /// - Throws: ``FieldsealError`` when the client has no key with that id.
    package func removeKey(_ id: UUID, of nameOrID: String) async throws {
        try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                let client = try ClientRegistry.row(nameOrID, of: organization, on: connection)
                let removed = try connection.query(
                    "DELETE FROM config.api_client_key WHERE key_id = $1 AND client_id = $2", [.uuid(id), .uuid(client.id)])
                // SQL may have deleted the row, and could restore it. So the key is also removed from the attested list.
                let isElsewhere = try !connection.query("SELECT FROM config.api_client_key WHERE key_id = $1", [.uuid(id)]).isEmpty
                let name = ClientRegistry.KeyRow.name(id)
                guard try removed.affectedRows == 1 || !isElsewhere && change.grants.names(name) else {
                    throw FieldsealError(
                        .objectDoesNotExist, "The client \(client.name) has no key \(id.text); see `fieldseal client list`.")
                }
                try change.remove(name)
                try change.append(
                    SecurityEvent(.clientKeyRemoved, .succeeded, details: "\(client.name), \(id.text)"), by: caller, on: connection)
            }
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
