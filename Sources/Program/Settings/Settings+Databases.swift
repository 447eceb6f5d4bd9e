/// The databases of a deployment. Each is complete in itself, with `config` and its organizations.
extension Settings {
    struct Database: Sendable {
        let name: String
        let conninfo: String
        /// Connects as a role that may act as the owner.
        let migrationConninfo: String
    }

    /// The name of the database in the setting `database`, beside others, and for `--database`.
    private static let onlyName = "main"

    /// All of them, by name.
    var allDatabases: [Database] {
        guard !databases.isEmpty else {
            return [Database(name: Self.onlyName, conninfo: database, migrationConninfo: migrationDatabase)]
        }
        return databases.sorted { $0.key < $1.key }.map {
            Database(name: $0.key, conninfo: $0.value, migrationConninfo: migrationDatabases[$0.key] ?? $0.value)
        }
    }

    /// The same settings for one database.
    func selecting(_ one: Database) -> Settings {
        var settings = self
        (settings.database, settings.migrationDatabase) = (one.conninfo, one.migrationConninfo)
        return settings
    }

    /// The same settings for the named database, or for the only one.
    ///
    /// - Throws: ``CommandFailure`` that lists the databases.
    func selecting(_ name: String?) throws -> Settings {
        let all = allDatabases
        let names = all.map(\.name).joined(separator: ", ")
        guard let name else {
            guard all.count == 1 else {
                throw CommandFailure("The deployment has several databases. Name one with --database: \(names).")
            }
            return selecting(all[0])
        }
        guard let one = all.first(where: { $0.name == name }) else {
            throw CommandFailure("The settings have no database \(name). They have: \(names).")
        }
        return selecting(one)
    }

    /// Checks that the databases are configured in one way, and fills in the derived values.
    mutating func completeDatabases() throws(SettingsError) {
        guard !databases.isEmpty else {
            guard !database.isEmpty else { throw .required("database") }
            guard migrationDatabases.isEmpty else { throw .required("databases") }
            if migrationDatabase.isEmpty { migrationDatabase = database }
            return
        }
        guard database.isEmpty else { throw .several(["database", "databases"]) }
        guard migrationDatabase.isEmpty else {
            throw .malformed("the settings have migrationDatabase beside databases: it is an entry of migrationDatabases there")
        }
        if let name = migrationDatabases.keys.sorted().first(where: { databases[$0] == nil }) {
            throw .malformed("migrationDatabases has \(name), which is not among databases: correct its name, or add it there")
        }
        // One of several is selected later.
        if allDatabases.count == 1 { self = selecting(allDatabases[0]) }
    }
}
