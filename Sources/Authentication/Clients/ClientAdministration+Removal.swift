import Foundation
import JSON
import PostgresClient
import Tenancy

extension ClientAdministration {
    /// Removes a client by its name or id, with its secrets, keys and links. The client's tokens are refused at once. The client's
    /// systemuser is disabled but not removed, because records refer to it.
    ///
    /// - Parameter evenIfLast: Whether the last System Administrator may be removed.
    /// - Throws: ``FieldsealError`` when there is no client with that name or id, or when it is the last System Administrator and
    ///   `evenIfLast` is false.
    package func remove(_ nameOrID: String, evenIfLast: Bool = false) async throws {
        try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                let rows = try ClientRegistry.rows(of: organization, on: connection).map(\.row)
                guard let client = try ClientRegistry.row(toEnd: nameOrID, among: rows, change) else {
                    throw ClientRegistry.unknown(nameOrID, organization)
                }
                // A row that SQL changed does not say reliably which systemuser the client acted as.
                let isOwn = try client.isNewest(in: change.grants, of: organization, under: change.kek)
                try TrustedIssuers.removeLinks("client_id = $1", [.uuid(client.id)], &change, on: connection)
                for row in try connection.query(
                    "DELETE FROM config.api_client_key WHERE client_id = $1 RETURNING key_id", [.uuid(client.id)])
                {
                    try change.remove(ClientRegistry.KeyRow.name(try row.decode(0)))
                }
                for row in try connection.query(
                    "DELETE FROM config.api_client_secret WHERE client_id = $1 RETURNING secret_id", [.uuid(client.id)])
                {
                    try change.remove(ClientRegistry.SecretRow.name(try row.decode(0)))
                }
                try change.remove(ClientRegistry.SecretRow.all(of: client.id))
                try change.keepingAnAdministrator(evenIfLast: evenIfLast, on: connection) { change in
                    _ = try connection.query("DELETE FROM config.api_client WHERE client_id = $1", [.uuid(client.id)])
                    try change.remove(OrganizationState.ClientRow.name(client.id))
                    if isOwn { try change.disableSystemUser(client.systemUserID, by: caller, on: connection) }
                }
                try change.append(
                    SecurityEvent(.clientRemoved, .succeeded, details: isOwn ? client.name : client.id.text), by: caller,
                    on: connection)
            }
        }
    }
}
