/// The tables, views and sequences that a given set of migrations makes. They are read from the migrations' SQL.
package struct MigrationTables: Sendable, Equatable {
    /// Tables whose rows a dump holds.
    package private(set) var tables: Set<String> = ["migration"]
    /// Partitioned tables. The partitions have the rows.
    package private(set) var partitioned: Set<String> = []
    /// Tables whose rows a dump may leave out, because a crash loses the rows anyway.
    package private(set) var unlogged: Set<String> = []
    package private(set) var views: Set<String> = []
    package private(set) var sequences: Set<String> = []

    /// - Parameter applied: The names of the migrations.
    package init(_ scope: Migration.Scope, applied: Set<String>) {
        for migration in MigrationCatalog.migrations(scope) where applied.contains(migration.name) { add(migration.sql) }
    }

    /// Reads only statements at the beginning of a line. Indented statements are skipped, because they are inside functions that
    /// make the tables of a key version.
    private mutating func add(_ sql: String) {
        let pattern =
            #/^(CREATE|DROP) (?:OR REPLACE )?(UNLOGGED )?(TABLE|VIEW|SEQUENCE) (?:IF (?:NOT )?EXISTS )?(?:config\.)?([a-z_0-9]+)/#
            .anchorsMatchLineEndings()
        for match in sql.matches(of: pattern) {
            let name = String(match.4)
            guard match.1 == "CREATE" else {
                remove(name)
                continue
            }
            let statement = sql[match.range.lowerBound...].prefix { $0 != ";" }
            switch match.3 {
            case "VIEW": views.insert(name)
            case "SEQUENCE": sequences.insert(name)
            case _ where statement.contains("PARTITION BY"): partitioned.insert(name)
            case _ where match.2 != nil: unlogged.insert(name)
            default: tables.insert(name)
            }
        }
    }

    private mutating func remove(_ name: String) {
        tables.remove(name)
        partitioned.remove(name)
        unlogged.remove(name)
        views.remove(name)
        sequences.remove(name)
    }
}
