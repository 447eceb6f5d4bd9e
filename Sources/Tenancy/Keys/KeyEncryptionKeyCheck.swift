public import CellCrypto
public import PostgresClient

/// Compares a key-encryption key with the one that a deployment's secrets are sealed under.
public enum KeyEncryptionKeyCheck {
    /// - Throws: ``WrongKeyEncryptionKey`` when the deployment has secrets, and they are under another one. Whether single keys of
    ///   organizations are is the doctor's to say.
    public static func check(_ kek: KeyEncryptionKey, on pool: ConnectionPool) async throws {
        let ids: [String]
        do {
            ids = try await pool.withConnection { connection in
                // The service signs its tokens under its own key: what is sealed there tells first.
                try connection.query(
                    """
                    SELECT kek_id FROM (
                        SELECT 1 AS place, kek_id FROM config.signing_key WHERE retired_on IS NULL
                        UNION SELECT 2, kek_id FROM config.organization_key WHERE retired_on IS NULL) AS k ORDER BY place
                    """
                ).map { try $0.decode(0, as: String.self) }
            }
        } catch let error as PostgresError where ["42P01", "3F000", "42501", "42703"].contains(error.sqlState) {
            // There is no deployment yet, or no right to look: the command says so itself.
            return
        }
        guard let wanted = ids.first, wanted != kek.id else { return }
        throw WrongKeyEncryptionKey(given: kek.id, wanted: wanted)
    }
}

/// The loaded key-encryption key is not the one that the deployment's secrets are sealed under.
public struct WrongKeyEncryptionKey: Error, Sendable, CustomStringConvertible {
    public let given: String
    public let wanted: String

    package init(given: String, wanted: String) {
        self.given = given
        self.wanted = wanted
    }

    public var description: String {
        "the key-encryption key has the id \(given), and the deployment's secrets are sealed under \(wanted); "
            + "restore that one from its backup"
    }
}
