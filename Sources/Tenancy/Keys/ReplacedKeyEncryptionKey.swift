package import CellCrypto
package import Foundation
package import PostgresClient

/// A replaced key-encryption key, in `config.replaced_kek`.
package struct ReplacedKeyEncryptionKey: Sendable {
    package let id: String
    package let successorID: String
    package let replacedOn: Date
    package let retiredOn: Date?
    let archiveKey: [UInt8]
    /// The id of the key-encryption key that seals ``archiveKey``.
    package let sealedUnder: String

    /// Whether the key is no longer accepted.
    package var isRetired: Bool { retiredOn != nil }

    /// All replaced key-encryption keys, the newest first; empty if the database lacks the migration.
    package static func all(on connection: isolated PostgresConnection) throws -> [ReplacedKeyEncryptionKey] {
        guard try connection.query("SELECT to_regclass('config.replaced_kek') IS NOT NULL")[0].decode(0) else { return [] }
        return try connection.query(
            """
            SELECT kek_id, successor_id, replaced_on, retired_on, archive_key, sealed_under FROM config.replaced_kek
             ORDER BY replaced_on DESC, kek_id
            """
        ).map { row in
            ReplacedKeyEncryptionKey(
                id: try row.decode(0), successorID: try row.decode(1), replacedOn: try row.decode(2),
                retiredOn: try row.decodeIfPresent(3), archiveKey: try row.decode(4, as: PostgresBytes.self).bytes,
                sealedUnder: try row.decode(5))
        }
    }

    /// The keys that tagged archives under replaced key-encryption keys, by the ids of those key-encryption keys. Old archives are
    /// verified with these keys.
    package static func archiveKeys(_ deployment: Deployment) async throws -> [String: SecretBytes] {
        try await deployment.pool.withConnection { connection in
            try all(on: connection).reduce(into: [:]) { keys, replaced in
                keys[replaced.id] = try? deployment.kek.open(replaced.archiveKey, at: address(replaced.id))
            }
        }
    }

    /// Records that key-encryption keys are replaced. Seals the archive keys of all replaced key-encryption keys under the new
    /// key-encryption key.
    ///
    /// - Parameter new: The new key-encryption key. The new key must also open cells under the replaced keys, because replaced keys
    /// sealed earlier archive keys.
    package static func record(
        _ replaced: [KeyEncryptionKey], by new: KeyEncryptionKey, _ caller: Caller, on connection: isolated PostgresConnection
    ) throws {
        for kek in replaced {
            let archiveKey = try new.seal(kek.tagKey(label: EventArchiveFile.tagLabel), at: address(kek.id))
            _ = try connection.query(
                """
                INSERT INTO config.replaced_kek (kek_id, successor_id, replaced_by, archive_key, sealed_under)
                VALUES ($1, $2, $3, $4, $2) ON CONFLICT (kek_id) DO NOTHING
                """, [.text(kek.id), .text(new.id), .text(caller.actor), .bytes(archiveKey.bytes)])
        }
        for former in try all(on: connection) where former.sealedUnder != new.id {
            // A cell that SQL wrote opens under no key. Such a cell stays, and the doctor names it.
            let opened = try? new.open(former.archiveKey, at: address(former.id))
            let archiveKey = try opened.map { try new.seal($0, at: address(former.id)).bytes } ?? former.archiveKey
            _ = try connection.query(
                "UPDATE config.replaced_kek SET archive_key = $2, sealed_under = $3 WHERE kek_id = $1",
                [.text(former.id), .bytes(archiveKey), .text(new.id)])
        }
    }

    /// Whether `kek` opens the sealed archive key.
    package func isReadable(under kek: KeyEncryptionKey) -> Bool {
        (try? kek.open(archiveKey, at: Self.address(id))) != nil
    }

    /// The address of the cell that holds a replaced key's archive key. The key belongs to the deployment, so the ids of
    /// organization and record are all zeros. The attribute has the KEK's id.
    private static func address(_ id: String) -> CellAddress {
        let zeros = UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
        return CellAddress(organization: zeros, record: zeros, attribute: "replacedkek.\(id)")
    }
}
