public import CellCrypto
public import PostgresClient

/// Compares key-encryption keys with the one that a deployment's secrets are sealed under.
public enum KeyEncryptionKeyCheck {
    /// The key-encryption key in force, of those that a program has. It accepts the others, except retired ones.
    ///
    /// Without a deployment it is the program's own. Whether each organization's keys open is for the doctor to find.
    ///
    /// - Throws: ``WrongKeyEncryptionKey`` when the deployment's secrets are under another one; ``RetiredKeyEncryptionKey`` when the
    ///   program has none but retired ones.
    @discardableResult
    public static func check(_ kek: KeyEncryptionKey, on pool: ConnectionPool) async throws -> KeyEncryptionKey {
        let found: (ids: [String], retired: [String])
        do {
            found = try await pool.withConnection { connection in
                // The service signs its tokens under its own key: what is sealed there tells first.
                let ids = try connection.query(
                    """
                    SELECT kek_id FROM (
                        SELECT 1 AS place, kek_id FROM config.signing_key WHERE retired_on IS NULL
                        UNION SELECT 2, kek_id FROM config.organization_key WHERE retired_on IS NULL) AS k ORDER BY place
                    """
                ).map { try $0.decode(0, as: String.self) }
                return (ids, try ReplacedKeyEncryptionKey.all(on: connection).filter(\.isRetired).map(\.id))
            }
        } catch let error as PostgresError where ["42P01", "3F000", "42501", "42703"].contains(error.sqlState) {
            // There is no deployment yet, or no right to look: the command says so itself.
            return kek
        }
        guard let accepted = kek.without(Set(found.retired)) else { throw RetiredKeyEncryptionKey(id: kek.id) }
        guard let wanted = found.ids.first else { return accepted }
        guard let current = accepted.member(wanted) else { throw WrongKeyEncryptionKey(given: accepted.id, wanted: wanted) }
        return current
    }
}

/// A program has no key-encryption key but one that was retired.
public struct RetiredKeyEncryptionKey: Error, Sendable, CustomStringConvertible {
    public let id: String

    public var description: String {
        "the key-encryption key \(id) was replaced and retired; name the one that replaced it in the settings (fieldseal kek status "
            + "shows its id)"
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
