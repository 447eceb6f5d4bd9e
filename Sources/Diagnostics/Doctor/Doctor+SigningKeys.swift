import Authentication
import CellCrypto
import JSON
import PostgresClient
import Tenancy

extension Doctor {
    /// Reports token-signing keys that servers read and can't open, or whose rows name another key-encryption key than the one that
    /// they are sealed under.
    func signingKeys(on connection: isolated PostgresConnection) throws -> [Finding] {
        let migrated = try connection.query("SELECT to_regclass('config.signing_key') IS NOT NULL")
        guard try migrated[0].decode(0) else { return [] }
        return try SigningKeyRow.all(on: connection).compactMap { row in
            do {
                _ = try row.open(under: deployment.kek)
            } catch {
                return Self.unreadable(row)
            }
            guard deployment.kek.member(row.kekID) == nil else { return nil }
            return Finding(
                .warning, "kek-id-changed",
                "the row of the token-signing key \(row.id.text) names the key-encryption key \(row.kekID), which did not seal "
                    + "it: SQL wrote that id. The key still opens, and the service works",
                advice: "find out who changed config.signing_key; then UPDATE config.signing_key SET kek_id = "
                    + "'\(deployment.kek.id)' WHERE signing_key_id = '\(row.id.text)'")
        }
    }

    private static func unreadable(_ row: SigningKeyRow) -> Finding {
        Finding(
            row.isCurrent ? .error : .warning, "signing-key-unreadable",
            row.isCurrent
                ? "the token-signing key \(row.id.text) does not open: no client gets a token until a server replaces it"
                : "the retired token-signing key \(row.id.text) does not open: tokens that it signed are refused",
            advice: row.isCurrent
                ? "find out who changed config.signing_key; a server replaces the key within a minute, or when it starts. To do it now: "
                    + "UPDATE config.signing_key SET retired_on = now() WHERE signing_key_id = '\(row.id.text)'"
                : "find out who wrote config.signing_key, and delete the row")
    }

    /// Reports replaced key-encryption keys whose row does not open, so that archives from their time can't be verified any more.
    func archiveKeys(on connection: isolated PostgresConnection) throws -> [Finding] {
        try ReplacedKeyEncryptionKey.all(on: connection).compactMap { replaced in
            guard deployment.kek.member(replaced.sealedUnder) != nil, !replaced.isReadable(under: deployment.kek) else {
                return nil
            }
            return Finding(
                .warning, "archive-key-unreadable",
                "archive_key of the replaced key-encryption key \(replaced.id) does not open: SQL changed its row, and "
                    + "archives of events from its time don't verify",
                advice: "find out who changed the row, and restore it from a backup of config")
        }
    }
}
