package import CellCrypto
package import Foundation
package import PostgresClient

/// Shows that a program has the deployment's key-encryption key, although a row of `config` names another key.
///
/// The column `kek_id` has no tag, so SQL can write any id there. But only the key itself opens a secret, and matches the tag of an
/// attested state.
package enum KeyEncryptionKeyEvidence {
    /// How many attested states are verified at most.
    private static let stateLimit = 100

    /// The known key-encryption key that is in force.
    ///
    /// - Parameter named: The id that a row of `config` names instead.
    /// - Returns: Nil if nothing shows which key is in force, or if organizations are under the key-encryption key with the id
    ///   `named`.
    package static func keyInForce(
        _ kek: KeyEncryptionKey, besides named: String, on connection: isolated PostgresConnection
    ) throws -> KeyEncryptionKey? {
        let tables = try connection.query(
            "SELECT to_regclass('config.signing_key') IS NOT NULL, to_regclass('config.attested_state') IS NOT NULL")[0]
        if try tables.decode(0), let key = try opening(kek, on: connection) { return key }
        return try tables.decode(1) ? try attesting(kek, besides: named, on: connection) : nil
    }

    /// The key-encryption key that opens the token-signing key in force.
    private static func opening(_ kek: KeyEncryptionKey, on connection: isolated PostgresConnection) throws -> KeyEncryptionKey? {
        let rows = try connection.query("SELECT signing_key_id, private_key FROM config.signing_key WHERE retired_on IS NULL")
        for row in rows {
            let (address, sealed) = (CellAddress.signingKey(try row.decode(0)), try row.decode(1, as: PostgresBytes.self).bytes)
            if let own = kek.each.first(where: { (try? $0.open(sealed, at: address)) != nil }) { return kek.member(own.id) }
        }
        return nil
    }

    /// The known key-encryption key that made the tags of attested states.
    private static func attesting(
        _ kek: KeyEncryptionKey, besides named: String, on connection: isolated PostgresConnection
    ) throws -> KeyEncryptionKey? {
        let rows = try connection.query(
            """
            (SELECT \(AttestedState.columns) FROM config.attested_state AS a WHERE a.kek_id = $1)
            UNION ALL
            (SELECT \(AttestedState.columns) FROM config.attested_state AS a WHERE a.kek_id = ANY ($2)
              ORDER BY a.organization_id LIMIT $3)
            """, [.text(named), .texts(kek.ids), .int64(Int64(stateLimit))])
        var found: KeyEncryptionKey?
        for row in rows {
            let state = try AttestedState(row, at: 0)
            let own = try kek.each.first { try state.isSigned(by: $0) }
            // No known key made this tag, so SQL did not write the row's id: a rotation moved the organization to that key.
            if state.kekID == named, own == nil { return nil }
            found = found ?? own.flatMap { kek.member($0.id) }
        }
        return found
    }
}

extension CellAddress {
    /// The address of a token-signing key. A token-signing key belongs to the deployment, so the organization's id is all zeros.
    package static func signingKey(_ id: UUID) -> CellAddress {
        let zeros = UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
        return CellAddress(organization: zeros, record: id, attribute: "signingkey.private")
    }
}
