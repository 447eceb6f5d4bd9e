package import CellCrypto
package import Crypto
package import Foundation
package import PostgresClient
import Tenancy

/// A row of `config.signing_key` that servers read: the key in force, or a retired key whose tokens are still valid.
package struct SigningKeyRow: Sendable {
    package let id: UUID
    /// The private key, sealed under the key-encryption key ``kekID``.
    private let sealed: [UInt8]
    package let kekID: String
    /// Whether new tokens are signed with the key.
    package let isCurrent: Bool
    /// Whether the key is to be replaced, because it is old, or because SQL dated it into the future.
    let isDue: Bool

    /// How many seconds a date may be ahead of the database's clock, which may have been corrected. SQL wrote a date further ahead.
    private static let ahead = 300

    /// The rows that servers read.
    package static func all(on connection: isolated PostgresConnection) throws -> [SigningKeyRow] {
        try connection.query(
            """
            SELECT signing_key_id, private_key, kek_id, retired_on IS NULL,
                   created_on NOT BETWEEN now() - $1 * interval '1 second' AND now() + $3 * interval '1 second'
              FROM config.signing_key
             WHERE retired_on IS NULL OR retired_on BETWEEN now() - $2 * interval '1 second' AND now() + $3 * interval '1 second'
            """,
            [.double(Double(TokenIssuer.rotation)), .double(Double(2 * TokenIssuer.lifetime)), .double(Double(Self.ahead))]
        )
        .map { row in
            SigningKeyRow(
                id: try row.decode(0), sealed: try row.decode(1, as: PostgresBytes.self).bytes, kekID: try row.decode(2),
                isCurrent: try row.decode(3), isDue: try row.decode(4))
        }
    }

    /// The private key.
    ///
    /// - Throws: ``WrongKeyEncryptionKey`` if this program does not have the key-encryption key; ``UnreadableSigningKey`` if the
    ///   sealed key does not open.
    package func open(under kek: KeyEncryptionKey) throws -> P256.Signing.PrivateKey {
        do {
            return try kek.open(sealed, at: .signingKey(id)).withBytes { bytes throws(any Error) in
                try P256.Signing.PrivateKey(rawRepresentation: bytes)
            }
        } catch {
            guard kek.member(kekID) != nil else { throw WrongKeyEncryptionKey(given: kek.id, wanted: kekID) }
            throw UnreadableSigningKey(id: id)
        }
    }
}
