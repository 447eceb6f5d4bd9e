package import CellCrypto
package import PostgresClient

/// Compares key-encryption keys with the key-encryption key that seals a deployment's secrets.
package enum KeyEncryptionKeyCheck {
    /// Finds the key-encryption key in force among those that the program has. The returned key also accepts what the program's
    /// other keys sealed or tagged, except retired keys.
    ///
    /// If there is no deployment yet, returns the program's own key. Only one sealed secret is checked here. The doctor checks
    /// whether each organization's keys open. If the row of the checked secret names a key-encryption key that the program does not
    /// have, ``KeyEncryptionKeyEvidence`` decides, because SQL may have written that id.
    ///
    /// - Throws: ``WrongKeyEncryptionKey`` when another key seals the deployment's secrets; ``RetiredKeyEncryptionKey`` when the
    ///   program has only retired keys.
    @discardableResult
    package static func check(_ kek: KeyEncryptionKey, on pool: ConnectionPool) async throws -> KeyEncryptionKey {
        let found: (wanted: String?, replaced: [ReplacedKeyEncryptionKey], shown: KeyEncryptionKey?)
        do {
            found = try await pool.withConnection { connection in
                // The query prefers the token-signing key, which is sealed under the key-encryption key in every deployment.
                let wanted = try connection.query(
                    """
                    SELECT kek_id FROM (
                        SELECT 1 AS place, kek_id FROM config.signing_key WHERE retired_on IS NULL
                        UNION SELECT 2, kek_id FROM config.organization_key WHERE retired_on IS NULL) AS k ORDER BY place LIMIT 1
                    """
                ).first?.decode(0, as: String.self)
                let replaced = try ReplacedKeyEncryptionKey.all(on: connection)
                guard let wanted, let accepted = accepted(kek, replaced), accepted.member(wanted) == nil else {
                    return (wanted, replaced, nil)
                }
                return (wanted, replaced, try KeyEncryptionKeyEvidence.keyInForce(accepted, besides: wanted, on: connection))
            }
        } catch let error as PostgresError
            where [.undefinedTable, .undefinedSchema, .insufficientPrivilege, .undefinedColumn].contains(error.state)
        {
            // There is no deployment yet, or the role has no right to read it. The caller's next statement reports that.
            return kek
        }
        guard let accepted = accepted(kek, found.replaced) else {
            throw RetiredKeyEncryptionKey(id: kek.id, successorID: successor(of: kek.id, in: found.replaced))
        }
        guard let wanted = found.wanted else { return accepted }
        guard let current = accepted.member(wanted) ?? found.shown else {
            throw WrongKeyEncryptionKey(given: accepted.id, wanted: wanted)
        }
        return current
    }

    /// The program's key-encryption keys that are not retired; nil if all are retired.
    private static func accepted(_ kek: KeyEncryptionKey, _ replaced: [ReplacedKeyEncryptionKey]) -> KeyEncryptionKey? {
        kek.remaining(without: Set(replaced.filter(\.isRetired).map(\.id)))
    }

    /// The id of the key that is in place of a retired key now, after the last replacement.
    private static func successor(of id: String, in replaced: [ReplacedKeyEncryptionKey]) -> String {
        var current = id
        // The loop makes at most as many steps as there are keys, because rows that SQL wrote may form a circle.
        for _ in replaced {
            guard let next = replaced.first(where: { $0.id == current && $0.isRetired }) else { break }
            current = next.successorID
        }
        return current
    }
}
