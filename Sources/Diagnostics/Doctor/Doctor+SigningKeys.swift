import Authentication
import JSON
import PostgresClient
import Tenancy

extension Doctor {
    /// Reports token-signing keys that servers read and can't open.
    func signingKeys(on connection: isolated PostgresConnection) throws -> [Finding] {
        let migrated = try connection.query("SELECT to_regclass('config.signing_key') IS NOT NULL")
        guard try migrated[0].decode(0) else { return [] }
        return try SigningKeyRow.all(on: connection).compactMap { row in
            do {
                _ = try row.open(under: deployment.kek)
                return nil
            } catch {
                return Finding(
                    row.isCurrent ? .error : .warning, "signing-key-unreadable",
                    row.isCurrent
                        ? "the token-signing key \(row.id.text) does not open: no server starts, and no client gets a token"
                        : "the retired token-signing key \(row.id.text) does not open: tokens that it signed are refused",
                    advice: row.isCurrent
                        ? "find out who changed config.signing_key; then UPDATE config.signing_key SET retired_on = now() WHERE "
                            + "signing_key_id = '\(row.id.text)', and a server makes another one"
                        : "find out who wrote config.signing_key, and delete the row")
            }
        }
    }
}
