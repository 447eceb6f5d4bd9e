import CellCrypto
import PostgresClient

/// The error of a program whose key-encryption keys are all retired.
package struct RetiredKeyEncryptionKey: Error, Sendable, CustomStringConvertible {
    package let id: String
    /// The id of the key that took the place of the retired key, and is not retired itself.
    package let successorID: String

    package var description: String {
        "the key-encryption key \(id) was replaced and retired; name \(successorID), which took its place, in the settings"
    }
}
