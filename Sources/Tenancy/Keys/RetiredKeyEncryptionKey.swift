import CellCrypto
import PostgresClient

/// All key-encryption keys of the program are retired.
package struct RetiredKeyEncryptionKey: Error, Sendable, CustomStringConvertible {
    package let id: String

    package var description: String {
        "the key-encryption key \(id) was replaced and retired; name the one that replaced it in the settings (fieldseal kek status "
            + "shows its id)"
    }
}
