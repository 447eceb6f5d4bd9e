import CellCrypto
import PostgresClient

/// All key-encryption keys of the program are retired.
package struct RetiredKeyEncryptionKey: Error, Sendable, CustomStringConvertible {
    package let id: String
    /// The id of the key that took its place, and is not retired.
    package let successorID: String

    package var description: String {
        "the key-encryption key \(id) was replaced and retired; name \(successorID), which took its place, in the settings"
    }
}
