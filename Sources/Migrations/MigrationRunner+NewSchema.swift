package import PostgresClient

// All migrations of a schema, in a transaction of the caller.
extension MigrationRunner {
    /// Applies all of a target's migrations in the caller's transaction, for a new schema, or for one that another deployment made.
    ///
    /// - Parameter last: The newest migration to apply; nil for all.
    package static func applyAll(
        to target: MigrationTarget,
        through last: String? = nil,
        on connection: isolated PostgresConnection
    ) throws {
        let applied = try lockedLedger(of: target, on: connection)
        if let problem = status(target, applied: applied).problem { throw problem }
        let all = MigrationCatalog.migrations(target.scope)
        if target != .config, applied.isEmpty, last == nil || last == all.last?.name {
            return try make(target, withFirstGeneration: false, on: connection)
        }
        let names = Set(applied.map(\.name))
        let pending = all.filter { migration in !names.contains(migration.name) && last.map { migration.name <= $0 } ?? true }
        try record(pending.map { ($0, try timed($0, on: target, on: connection)) }, of: target, on: connection)
    }

    /// Fills an organization's empty schema, and makes empty cell tables of key version 1 current.
    package static func makeWithFirstGeneration(
        _ target: MigrationTarget, on connection: isolated PostgresConnection
    ) throws {
        try lockedLedger(of: target, on: connection)
        try make(target, withFirstGeneration: true, on: connection)
    }

    /// Creates at once everything that all migrations create. The ledgers list every migration, and have the whole duration at the
    /// last migration.
    private static func make(
        _ target: MigrationTarget, withFirstGeneration: Bool, on connection: isolated PostgresConnection
    ) throws {
        let migrations = MigrationCatalog.migrations(target.scope)
        guard let last = migrations.last else { return }
        let statements = NewOrganizationSchema.embedded.statements(withFirstGeneration: withFirstGeneration)
        let start = ContinuousClock.now
        // Checking function bodies takes time, so PostgreSQL does not check them here. A test compares the result with that of the
        // migrations, whose function bodies are checked.
        try connection.execute("SET LOCAL check_function_bodies = off")
        try execute(statements, of: last.name, on: target, on: connection)
        try connection.execute("RESET check_function_bodies")
        let milliseconds = Int64((ContinuousClock.now - start) / .milliseconds(1))
        try record(
            migrations.map { ($0, milliseconds: $0.name == last.name ? milliseconds : 0) }, of: target, on: connection)
    }
}
