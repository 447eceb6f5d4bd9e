package import Foundation
import JSON
import PostgresClient
package import Tenancy

extension ClientRegistry {
    /// A secret in the output of `client list`. The secret itself is not stored.
    package struct SecretEntry: Sendable {
        package let id: UUID
        package let createdOn: Date
        /// Its expiry; nil if it does not expire.
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
            let (secret, tag) = try Self.secretRow(row, of: client)
            entries[client, default: []].append(
                SecretEntry(
                    id: secret.id, createdOn: try row.decode(6), expiresOn: secret.expiresOn.map { $0.date },
                    isAuthentic: try state.grants.authenticates(secret.grant, tag: tag, under: deployment.kek)))
        }
    }

    /// Removes a client with its secrets, keys and links. Its systemuser stays, disabled, because records refer to it.
    ///
    /// - Throws: ``FieldsealError`` when there is no client with that name or id.
    func remove(
        _ nameOrID: String, evenIfLast: Bool, of organization: Organization, by caller: Caller,
        on connection: isolated PostgresConnection
    ) throws {
        try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
            let client = try Self.row(nameOrID, of: organization, on: connection)
            try TrustedIssuers.removeLinks("client_id = $1", [.uuid(client.id)], &change, on: connection)
            for row in try connection.query(
                "DELETE FROM config.api_client_key WHERE client_id = $1 RETURNING key_id", [.uuid(client.id)])
            {
                try change.remove(KeyRow.name(try row.decode(0)))
            }
            for row in try connection.query(
                "DELETE FROM config.api_client_secret WHERE client_id = $1 RETURNING secret_id", [.uuid(client.id)])
            {
                try change.remove(Grant.Name(.clientSecret, [try row.decode(0, as: UUID.self).bytes]))
            }
            try change.keepingAnAdministrator(evenIfLast: evenIfLast, on: connection) { change in
                _ = try connection.query("DELETE FROM config.api_client WHERE client_id = $1", [.uuid(client.id)])
                try change.remove(OrganizationState.ClientRow.name(client.id))
                try change.disableSystemUser(client.systemUserID, by: caller, on: connection)
            }
            try change.append(
                SecurityEvent(.clientRemoved, .succeeded, details: client.name), by: caller, on: connection)
        }
    }
}

extension Session {
    /// Removes a client by its name or id. Its tokens are refused at once.
    ///
    /// - Parameter evenIfLast: Whether the last System Administrator may be removed.
    package func removeClient(_ nameOrID: String, evenIfLast: Bool = false) async throws {
        try requireSystemAdministrator(to: "manage API clients")
        try await deployment.pool.withConnection { connection in
            try ClientRegistry(deployment).remove(
                nameOrID, evenIfLast: evenIfLast, of: organization, by: caller, on: connection)
        }
    }

    /// The id of a client by its name or id.
    ///
    /// - Throws: ``FieldsealError`` when there is none, or SQL changed its row. Another row could have its name.
    package func clientID(of nameOrID: String) async throws -> UUID {
        try requireSystemAdministrator(to: "manage API clients")
        return try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
            return try ClientRegistry.row(
                nameOrID, of: organization, in: state.grants, under: deployment.kek, on: connection
            ).id
        }
    }
}
