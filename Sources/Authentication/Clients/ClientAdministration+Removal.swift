import Foundation
import JSON
import PostgresClient
import Tenancy

extension ClientAdministration {
    /// Removes a client by its name or id, with its secrets, keys and links. Its tokens are refused at once. Its systemuser stays,
    /// disabled, because records refer to it.
    ///
    /// - Parameter evenIfLast: Whether the last System Administrator may be removed.
    /// - Throws: ``FieldsealError`` when there is no client with that name or id.
    package func remove(_ nameOrID: String, evenIfLast: Bool = false) async throws {
        try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                let client = try ClientRegistry.row(nameOrID, of: organization, on: connection)
                try TrustedIssuers.removeLinks("client_id = $1", [.uuid(client.id)], &change, on: connection)
                for row in try connection.query(
                    "DELETE FROM config.api_client_key WHERE client_id = $1 RETURNING key_id", [.uuid(client.id)])
                {
                    try change.remove(ClientRegistry.KeyRow.name(try row.decode(0)))
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
}
