package import CellCrypto
import Foundation
package import PostgresClient

/// The subkeys of earlier key-encryption keys in a person's stored password verifier.
///
/// A verifier can't be computed again without the password. So a rotation of the key-encryption key tags the stored verifier under
/// the new key. The rotation also stores the previous key's subkey, sealed under the new key. The person's next sign-in stores a
/// verifier without layers, and a trigger deletes the layers.
package struct VerifierLayers {
    private static let subkeyLength = 64

    /// The subkeys of a person, the oldest first; none if the verifier was made under the current key-encryption key. Returns
    /// no subkeys for a row that can't be opened, because SQL wrote it.
    package static func read(
        of user: ConsoleUsers.Row, under kek: KeyEncryptionKey, on connection: isolated PostgresConnection
    ) throws -> [SecretBytes] {
        do {
            return try stored(of: user, under: kek, on: connection)
        } catch is CellError {
            return []
        }
    }

    /// Whether a person has a stored subkey that does not open.
    package static func isUnreadable(
        of user: ConsoleUsers.Row, under kek: KeyEncryptionKey, on connection: isolated PostgresConnection
    ) throws -> Bool {
        do {
            _ = try stored(of: user, under: kek, on: connection)
            return false
        } catch is CellError {
            return true
        }
    }

    private static func stored(
        of user: ConsoleUsers.Row, under kek: KeyEncryptionKey, on connection: isolated PostgresConnection
    ) throws -> [SecretBytes] {
        let rows = try connection.query("SELECT layers FROM config.verifier_layer WHERE user_id = $1", [.uuid(user.id)])
        guard let row = rows.first else { return [] }
        return try kek.open(row.decode(0, as: PostgresBytes.self).bytes, at: address(user)).withBytes { bytes in
            stride(from: 0, to: bytes.count, by: subkeyLength).map { start in
                SecretBytes(copying: UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + subkeyLength, bytes.count)]))
            }
        }
    }

    /// Stores a person's layers: the present ones, and the subkey of the key-encryption key that is being replaced.
    package static func store(
        _ layers: [SecretBytes], of user: ConsoleUsers.Row, under kek: KeyEncryptionKey,
        on connection: isolated PostgresConnection
    ) throws {
        let bytes = SecretBytes(count: layers.count * subkeyLength) { buffer in
            for (index, layer) in layers.enumerated() {
                layer.withBytes { UnsafeMutableRawBufferPointer(rebasing: buffer[(index * subkeyLength)...]).copyMemory(from: $0) }
            }
        }
        _ = try connection.query(
            """
            INSERT INTO config.verifier_layer (user_id, layers) VALUES ($1, $2)
            ON CONFLICT (user_id) DO UPDATE SET layers = excluded.layers
            """, [.uuid(user.id), .bytes(try kek.seal(bytes, at: address(user)).bytes)])
    }

    private static func address(_ user: ConsoleUsers.Row) -> CellAddress {
        CellAddress(organization: user.organizationID, record: user.id, attribute: "consoleuser.layers")
    }
}
