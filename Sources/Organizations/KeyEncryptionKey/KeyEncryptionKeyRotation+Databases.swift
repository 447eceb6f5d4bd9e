import Model
import Tenancy

extension KeyEncryptionKeyRotation {
    /// The facts about one database that decide whether key-encryption keys may be retired. Each key is named by its id.
    package struct Census: Sendable {
        /// The name of the database.
        package let database: String
        /// The keys that were replaced in this database and are not retired.
        package let waiting: Set<String>
        /// The keys under which something is still sealed or tagged.
        package let used: Set<String>
        /// The key that is in force in this database.
        let inForce: String

        package init(_ database: String, _ status: KeyEncryptionKeyStatus, inForce: String) {
            self.database = database
            self.inForce = inForce
            waiting = Set(status.replaced.filter { !$0.isRetired }.map(\.id))
            used = Set(status.uses.map(\.kekID))
        }
    }

    /// Refuses to retire a key that was replaced in one database while something in another database is still sealed or tagged
    /// under it. A database in which the key is in force does not count, because the key is not retired there.
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
