import CellCrypto
import PostgresClient

/// The error of a program whose key-encryption key is not the one that seals the deployment's secrets.
package struct WrongKeyEncryptionKey: Error, Sendable, CustomStringConvertible {
    package let given: String
    package let wanted: String

    package init(given: String, wanted: String) {
        self.given = given
        self.wanted = wanted
    }

    package var description: String {
        "the key-encryption key has the id \(given), and the deployment's secrets are sealed under \(wanted); restore the key "
            + "\(wanted) from its backup. If the deployment never had that key, SQL changed kek_id of a row in config: see "
            + "fieldseal doctor"
    }
}
