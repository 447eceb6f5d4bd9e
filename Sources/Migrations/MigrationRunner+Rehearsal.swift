import PostgresClient

// A rehearsal of the pending migrations: they are applied, measured, and rolled back.
extension MigrationRunner {
    /// A lock on a table that conflicts with writing or reading.
    package struct Lock: Sendable, Hashable {
        /// The table's name, with its schema.
        package let table: String
        /// PostgreSQL's name of the lock mode, such as `AccessExclusiveLock`.
        package let mode: String
    }

    /// One migration of a rehearsal.
    package struct Step: Sendable {
        package let name: String
        package let milliseconds: Int64
        /// Locks on existing tables that no earlier step had taken.
        package let locks: [Lock]
    }

    /// The effects of the pending migrations of a target.
    package struct Rehearsal: Sendable {
        package let target: MigrationTarget
        package let steps: [Step]
        package let error: (any Error)?
        package var notes: [String] = []
    }

    /// How long a rehearsal waits for a lock before it gives up, so that no statement queues behind the rehearsal for long.
    private static let lockPatience = "2s"

    /// Thrown at the end of a rehearsal, so that its transaction is rolled back.
    private struct Done: Error {
        let steps: [Step]
        let notes: [String]
    }

    /// Applies the pending migrations to each target, in a transaction that is rolled back.
    ///
    /// The migrations of an organization run after those of the deployment, in one transaction.
    ///
    /// - Parameters:
    ///   - organization: The organization's name; nil for all.
    ///   - onRehearsal: Called with each target's rehearsal once it is finished.
    package func rehearse(
        organization: String? = nil, onRehearsal: @escaping @Sendable (Rehearsal) -> Void
    ) async throws {
        let connection = try await PostgresConnection.connect(conninfo, applicationName: "fieldseal rehearsal")
        let completion = completion
        let statuses = try await connection.run { try Self.recorded(organization: organization, on: $0) }
        for status in statuses {
            let rehearsal = try await connection.run { Self.rehearse(status, completion, on: $0) }
            onRehearsal(rehearsal)
        }
        await connection.close()
    }

    private static func rehearse(
        _ status: MigrationStatus, _ completion: MigrationCompletion?, on connection: isolated PostgresConnection
    ) -> Rehearsal {
        do {
            let _: Never = try connection.transaction { () throws -> Never in
                let existing = try tables(of: status.target, on: connection)
                try connection.execute("SET LOCAL lock_timeout = '\(lockPatience)'")
                var (steps, notes) = try pending(of: .config, completion, existing, on: connection)
                if status.target != .config {
                    (steps, notes) = try pending(of: status.target, completion, existing, on: connection)
                }
                throw Done(steps: steps, notes: notes)
            }
        } catch let done as Done {
            return Rehearsal(target: status.target, steps: done.steps, error: nil, notes: done.notes)
        } catch {
            return Rehearsal(target: status.target, steps: [], error: error)
        }
    }

    private static func pending(
        of target: MigrationTarget, _ completion: MigrationCompletion?, _ existing: [Int64],
        on connection: isolated PostgresConnection
    ) throws -> (steps: [Step], notes: [String]) {
        let applied = try lockedLedger(of: target, on: connection)
        if let problem = Self.status(target, applied: applied).problem { throw problem }
        let names = Set(applied.map(\.name))
        var (steps, notes): ([Step], [String]) = ([], [])
        var known = try locks(on: existing, connection)
        for migration in MigrationCatalog.migrations(target.scope) where !names.contains(migration.name) {
            let milliseconds = try timed(migration, on: target, on: connection)
            if migration.isCompletedByProgram { notes += try complete(migration, of: target, completion, on: connection) }
            try record([(migration, milliseconds)], of: target, on: connection)
            let held = try locks(on: existing, connection)
            steps.append(
                Step(
                    name: migration.name, milliseconds: milliseconds,
                    locks: held.subtracting(known).sorted { ($0.table, $0.mode) < ($1.table, $1.mode) }))
            known.formUnion(held)
        }
        return (steps, notes)
    }

    /// The tables of the deployment and of a target.
    private static func tables(of target: MigrationTarget, on connection: isolated PostgresConnection) throws -> [Int64] {
        var schemas = ["config"]
        if case .organization(_, _, let schema) = target { schemas.append(schema) }
        return try connection.query(
            """
            SELECT c.oid::bigint FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p') AND n.nspname = ANY ($1)
            """, [.texts(schemas)]
        ).map { Int64(try $0.decode(0, as: Int.self)) }
    }

    /// The locks of this transaction that conflict with writing, or with reading.
    private static func locks(on tables: [Int64], _ connection: isolated PostgresConnection) throws -> Set<Lock> {
        let rows = try connection.query(
            """
            SELECT n.nspname || '.' || c.relname, l.mode FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
              JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE l.pid = pg_backend_pid() AND l.granted AND l.relation::bigint = ANY ($1)
               AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
            """, [.int64s(tables)])
        return Set(try rows.map { Lock(table: try $0.decode(0), mode: try $0.decode(1)) })
    }
}
