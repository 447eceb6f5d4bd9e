package import Foundation
import JSON
import Model
import PostgresClient
package import Tenancy

extension ClientRegistry {
    /// Ends one secret of a client.
    ///
    /// - Throws: ``FieldsealError`` for a secret of another client, and for the client's only credential.
    func endSecret(
        _ secret: UUID, of id: UUID, in organization: Organization, by caller: Caller, on connection: isolated PostgresConnection
    ) throws {
        try change(id, of: organization, on: connection) { row, change in
            let secrets = try connection.query(
                """
                SELECT secret_id, expires_on IS NULL OR expires_on > now() FROM config.api_client_secret
                 WHERE client_id = $1 FOR UPDATE
                """, [.uuid(id)]
            ).map { (id: try $0.decode(0, as: UUID.self), isValid: try $0.decode(1, as: Bool.self)) }
            guard let found = secrets.first(where: { $0.id == secret }) else {
                throw FieldsealError(.objectDoesNotExist, "The client has no such secret. It may have ended already.")
            }
            let hasKey: Bool = try connection.query(
                "SELECT EXISTS (SELECT FROM config.api_client_key WHERE client_id = $1)", [.uuid(id)])[0].decode(0)
            guard !found.isValid || hasKey || secrets.contains(where: { $0.id != secret && $0.isValid }) else {
                throw FieldsealError(
                    .invalidArgument, "This is the client's only secret. Create another one first, or disable the client.")
            }
            _ = try connection.query("DELETE FROM config.api_client_secret WHERE secret_id = $1", [.uuid(secret)])
            try change.remove(Grant.Name(.clientSecret, [secret.bytes]))
            try change.append(
                SecurityEvent(.clientChanged, .succeeded, details: "\(row.name): a secret ended"), by: caller, on: connection)
        }
    }
}

extension Session {
    /// Ends one secret of a client at once. Tokens that were issued for it stay valid for an hour, unless the client is disabled.
    package func endSecret(_ secret: UUID, ofClient id: UUID) async throws {
        try requireSystemAdministrator(to: "manage API clients")
        try await deployment.pool.withConnection { connection in
            try ClientRegistry(deployment).endSecret(secret, of: id, in: organization, by: caller, on: connection)
        }
    }
}
