import PostgresClient

/// The databases of a deployment. Each database is complete, with a schema `config` and its organizations.
extension Settings {
    struct Database: Sendable {
        let name: String
        let conninfo: String
        /// The connection string of a role that may act as the owner of the schemas.
        let migrationConninfo: String
        /// The connection string of a standby; empty for none.
        let standbyConninfo: String
    }

    /// The name of the only database, because the setting `database` gives it none. Messages and `--database` use this name.
    private static let onlyName = "main"

    /// All databases, by name.
    var allDatabases: [Database] {
        guard !databases.isEmpty else {
            return [
                Database(
                    name: Self.onlyName, conninfo: database, migrationConninfo: migrationDatabase, standbyConninfo: standbyDatabase)
            ]
        }
        return databases.sorted { $0.key < $1.key }.map {
            Database(
                name: $0.key, conninfo: $0.value, migrationConninfo: migrationDatabases[$0.key] ?? $0.value,
                standbyConninfo: standbyDatabases[$0.key] ?? "")
        }
    }

    /// These settings, for one database.
    func selecting(_ one: Database) -> Settings {
        var settings = self
        (settings.database, settings.migrationDatabase) = (one.conninfo, one.migrationConninfo)
        settings.standbyDatabase = one.standbyConninfo
        settings.selectedDatabase = one.name
        return settings
    }

    /// These settings, for the named database or for the only one.
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

    /// Checks that the settings name either `database` or `databases`, and fills in the derived values.
    mutating func completeDatabases() throws(SettingsError) {
        guard !databases.isEmpty else {
            guard !database.isEmpty else { throw .required("database") }
            guard migrationDatabases.isEmpty, standbyDatabases.isEmpty, databaseKeks.settings.allSatisfy(\.names.isEmpty) else {
                throw .required("databases")
            }
            if migrationDatabase.isEmpty { migrationDatabase = database }
            return try checkStandby("standbyDatabase", standbyDatabase)
        }
        guard database.isEmpty else { throw .several(["database", "databases"]) }
        for (key, text) in [("migrationDatabase", migrationDatabase), ("standbyDatabase", standbyDatabase)] where !text.isEmpty {
            throw .malformed("the settings have \(key) beside databases: it is an entry of \(key)s there")
        }
        let maps = [
            ("migrationDatabases", migrationDatabases.keys.sorted()), ("standbyDatabases", standbyDatabases.keys.sorted()),
        ]
        for (key, names) in maps + databaseKeks.settings {
            if let name = names.first(where: { databases[$0] == nil }) {
                throw .malformed("\(key) has \(name), which is not among databases: correct its name, or add it there")
            }
        }
        for (name, conninfo) in standbyDatabases.sorted(by: { $0.key < $1.key }) {
            try checkStandby("standbyDatabases.\(name)", conninfo)
        }
        for one in allDatabases {
            let selected = selecting(one)
            _ = try selected.kekSource
            _ = try selected.newKekSource
        }
        // If there are several databases, the caller selects one later.
        if allDatabases.count == 1 { self = selecting(allDatabases[0]) }
    }

    /// Checks that a connection string is for standbys alone.
    private func checkStandby(_ key: String, _ conninfo: String) throws(SettingsError) {
        guard !conninfo.isEmpty, let parameters = try? ConnectionParameters.parse(conninfo) else { return }
        guard parameters.last(where: { $0.keyword == "target_session_attrs" })?.value == "standby" else {
            throw .malformed("\(key) does not say that it connects to a standby: add target_session_attrs=standby")
        }
    }
}
