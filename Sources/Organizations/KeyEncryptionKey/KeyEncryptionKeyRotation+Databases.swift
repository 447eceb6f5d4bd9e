import Model
import Tenancy

extension KeyEncryptionKeyRotation {
    /// What one database has to say before key-encryption keys are retired in any of several.
    package struct Census: Sendable {
        /// The name of the database.
        package let database: String
        /// Those that were replaced here and are not retired.
        package let waiting: Set<String>
        /// Those that something is under.
        package let used: Set<String>
        /// The one in force here.
        let inForce: String

        package init(_ database: String, _ status: KeyEncryptionKeyStatus, inForce: String) {
            self.database = database
            self.inForce = inForce
            waiting = Set(status.replaced.filter { !$0.isRetired }.map(\.id))
            used = Set(status.uses.map(\.kekID))
        }
    }

    /// Refuses to retire what was replaced in one database while something is under it in another, which has a newer one too. A
    /// database where it is in force keeps it.
    package static func checkRetiring(_ censuses: [Census]) throws {
        let waiting = censuses.reduce(into: Set<String>()) { $0.formUnion($1.waiting) }
        for census in censuses {
            guard let left = census.used.intersection(waiting).subtracting([census.inForce]).min() else { continue }
            throw FieldsealError(
                .encryption,
                "In the database \(census.database) something is still under the key-encryption key \(left), so nothing was retired in any "
                    + "database. Name both keys in the settings, and run fieldseal kek rotate first.")
        }
    }
}
