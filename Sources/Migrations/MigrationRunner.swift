import Foundation
package import PostgresClient

/// Applies migrations in order, each file in one transaction, under an advisory lock. It writes the ledger `config.migration`.
///
/// Every organization's schema also has its own ledger. So a schema that was moved to another deployment, or outlived its `config`,
/// still has its version.
package struct MigrationRunner: Sendable {
    let conninfo: String
    let completion: MigrationCompletion?

    /// - Parameters:
    ///   - conninfo: Connects as a role that may `SET ROLE fieldseal_owner`.
    ///   - completion: Completes migrations whose ``Migration/isCompletedByProgram`` is true. A database without organizations does
    ///     not need this.
    package init(conninfo: String, completion: MigrationCompletion? = nil) {
        self.conninfo = conninfo
        self.completion = completion
    }

    /// The result for one target.
    package struct Outcome: Sendable {
        package let target: MigrationTarget
        /// Names of the migrations that were applied.
        package let applied: [String]
        package let error: (any Error)?
        /// What the program left out when it completed a migration, and why.
        package var notes: [String] = []
    }

    /// Applies `migrations/bootstrap.sql`; the connected role must be a superuser.
    ///
    /// - Throws: ``MigrationError`` `.encoding` for a database that is not in UTF8.
    package func bootstrap() async throws { try await apply(MigrationCatalog.bootstrap) }

    /// Whether the database's locale knows upper and lower case of letters outside of ASCII. If not, searches for names with such
    /// letters are case-sensitive.
    package func knowsCase() async throws -> Bool {
        let connection = try await PostgresConnection.connect(conninfo)
        return try await connection.run { try $0.query("SELECT lower(U&'\\00C4\\0416') = U&'\\00E4\\0436'")[0].decode(0) }
    }

    /// Applies `migrations/recovery.sql`; the connected role must be a superuser.
    package func recovery() async throws { try await apply(MigrationCatalog.recovery) }

    private func apply(_ file: String) async throws {
        let connection = try await PostgresConnection.connect(conninfo)
        try await connection.run { connection in
            let encoding: String = try connection.query("SELECT current_setting('server_encoding')")[0].decode(0)
            guard encoding == "UTF8" else { throw MigrationError.encoding(encoding) }
            try connection.transaction { try connection.execute(file) }
        }
    }

    /// How many connections are used at a time by default.
    package static let defaultParallelism = 8

    /// Applies pending migrations to the deployment, then to organizations, several at a time.
    ///
    /// Each migration of an organization is one transaction, so an interrupted run continues at the next call.
    ///
    /// - Parameters:
    ///   - organization: The organization's name; nil for all.
    ///   - parallelism: How many connections are used at a time.
    ///   - onOutcome: Called with each target's outcome once it is finished.
    /// - Returns: An outcome for each target. A failure in one target does not undo the migrations of the others.
    package func up(
        organization: String? = nil, parallelism: Int = defaultParallelism,
        onOutcome: @escaping @Sendable (Outcome) -> Void = { _ in }
    ) async throws -> [Outcome] {
        let connection = try await PostgresConnection.connect(conninfo)
        let (names, notes) = try await Self.apply(.config, completion: completion, on: connection)
        let config = Outcome(target: .config, applied: names, error: nil, notes: notes)
        onOutcome(config)
        let statuses = try await connection.run { try Self.recorded(organization: organization, on: $0) }
        await connection.close()
        let workers = TargetWorkers(conninfo: conninfo, parallelism: parallelism)
        let outcomes = await workers.each(statuses.filter { $0.target != .config }) { status, connection in
            let outcome = await migrate(status, on: connection)
            onOutcome(outcome)
            return outcome
        }
        return [config] + outcomes.sorted { "\($0.target)" < "\($1.target)" }
    }

    private func migrate(_ recorded: MigrationStatus, on connection: () async throws -> PostgresConnection) async -> Outcome {
        let target = recorded.target
        do {
            let connection = try await connection()
            let status = try await connection.run { try Self.compared(recorded, on: $0) }
            guard status.problem == nil, !status.pending.isEmpty else {
                return Outcome(target: target, applied: [], error: status.problem)
            }
            let applied = try await Self.apply(target, status.pending, completion: completion, on: connection).applied
            return Outcome(target: target, applied: applied, error: nil)
        } catch {
            return Outcome(target: target, applied: [], error: error)
        }
    }

    /// The applied and pending migrations of the deployment and its organizations, and whether ledgers and program agree.
    package func status(organization: String? = nil) async throws -> [MigrationStatus] {
        let connection = try await PostgresConnection.connect(conninfo)
        let recorded = try await connection.run { try Self.recorded(organization: organization, on: $0) }
        await connection.close()
        let workers = TargetWorkers(conninfo: conninfo, parallelism: Self.defaultParallelism)
        let compared = await workers.each(recorded) { status, connection in
            do {
                return Result<MigrationStatus, any Error>.success(
                    try await connection().run { try Self.compared(status, on: $0) })
            } catch {
                return .failure(error)
            }
        }
        return try compared.map { try $0.get() }.sorted {
            ($0.target == .config ? "" : "\($0.target)") < ($1.target == .config ? "" : "\($1.target)")
        }
    }

    /// The contents of `config.migration` for the deployment and its organizations.
    static func recorded(organization: String?, on connection: isolated PostgresConnection) throws -> [MigrationStatus] {
        try connection.transaction {
            try becomeOwner(on: connection)
            let known = try connection.query("SELECT to_regclass('config.migration') IS NOT NULL")[0].decode(0, as: Bool.self)
            guard known else { return [status(.config, applied: [])] }
            let targets = [.config] + (try organizations(on: connection, named: organization))
            let applied = try ledgers(of: targets, on: connection)
            return targets.map { status($0, applied: applied[$0.organizationID] ?? []) }
        }
    }

    /// Adds a problem to a status if the organization's own ledger differs.
    private static func compared(
        _ status: MigrationStatus, on connection: isolated PostgresConnection
    ) throws -> MigrationStatus {
        guard case .organization(_, let name, let schema) = status.target, status.problem == nil else { return status }
        let own = try ownLedger(of: schema, on: connection)
        guard own != status.applied.map(\.name) else { return status }
        let problem = own.map { MigrationError.ledgersDiffer(target: name, schema: $0) } ?? .schemaMissing(target: name)
        return MigrationStatus(target: status.target, applied: status.applied, pending: status.pending, problem: problem)
    }

    /// The newest migration of a target, which ``down(_:)`` would undo.
    ///
    /// - Parameter name: `config`, or an organization's name.
    /// - Throws: ``MigrationError`` when it can't be undone, the database is newer than the program, or no migration is applied.
    package func newest(of name: String) async throws -> (target: MigrationTarget, migration: Migration) {
        let organization = name == "config" ? nil : name
        guard let status = try await status(organization: organization).first(where: { "\($0.target)" == name }),
            let last = status.applied.last
        else { throw MigrationError.unknownTarget(name) }
        if let problem = status.problem { throw problem }
        guard let migration = MigrationCatalog.migrations(status.target.scope).first(where: { $0.name == last.name }),
            migration.down != nil
        else { throw MigrationError.cannotBeUndone(target: name, name: last.name) }
        return (status.target, migration)
    }

    /// Undoes a migration in one transaction, if it is still the newest of its target.
    package func down(_ migration: Migration, of target: MigrationTarget) async throws {
        let connection = try await PostgresConnection.connect(conninfo)
        try await connection.run { connection in
            try connection.transaction {
                guard let down = migration.down, try Self.lockedLedger(of: target, on: connection).last?.name == migration.name
                else { throw MigrationError.cannotBeUndone(target: "\(target)", name: migration.name) }
                try Self.execute(down, of: migration.name, on: target, on: connection)
                if case .organization(let id, _, let schema) = target {
                    let ledger = "\(quoteIdentifier(schema)).migration"
                    _ = try connection.query("DELETE FROM \(ledger) WHERE name = $1", [.text(migration.name)])
                    _ = try connection.query(
                        """
                        UPDATE config.organization SET schema_version = (SELECT max(name) FROM \(ledger)) WHERE organization_id = $1
                        """, [.uuid(id)])
                }
                _ = try connection.query(
                    "DELETE FROM config.migration WHERE scope = $1 AND \(Self.ofTarget) AND name = $3",
                    [.text(target.scope.rawValue), .uuid(target.organizationID), .text(migration.name)])
            }
        }
    }

    private static func apply(
        _ target: MigrationTarget,
        _ names: [String]? = nil,
        completion: MigrationCompletion? = nil,
        on connection: PostgresConnection
    ) async throws -> (applied: [String], notes: [String]) {
        try await connection.run { connection in
            var (applied, notes): ([String], [String]) = ([], [])
            for migration in MigrationCatalog.migrations(target.scope) where names?.contains(migration.name) ?? true {
                let new = try connection.transaction {
                    guard try apply(migration, to: target, on: connection) else { return false }
                    if migration.isCompletedByProgram { notes += try complete(migration, of: target, completion, on: connection) }
                    return true
                }
                if new { applied.append(migration.name) }
            }
            return (applied, notes)
        }
    }

    /// Completes a migration in its transaction.
    static func complete(
        _ migration: Migration,
        of target: MigrationTarget,
        _ completion: MigrationCompletion?,
        on connection: isolated PostgresConnection
    ) throws -> [String] {
        if let completion { return try completion(migration, target, connection) }
        let isNeeded: Bool = try connection.query("SELECT EXISTS (SELECT FROM config.organization)")[0].decode(0)
        if isNeeded { throw MigrationError.needsKeyEncryptionKey(name: migration.name) }
        return []
    }

    /// - Returns: Whether this call applied the migration.
    private static func apply(
        _ migration: Migration,
        to target: MigrationTarget,
        on connection: isolated PostgresConnection
    ) throws -> Bool {
        let applied = try lockedLedger(of: target, on: connection)
        if let problem = status(target, applied: applied).problem { throw problem }
        if applied.contains(where: { $0.name == migration.name }) { return false }
        try record([(migration, try timed(migration, on: target, on: connection))], of: target, on: connection)
        return true
    }

    /// Runs a migration's SQL.
    ///
    /// - Returns: How many milliseconds it took.
    static func timed(
        _ migration: Migration, on target: MigrationTarget, on connection: isolated PostgresConnection
    ) throws -> Int64 {
        let start = ContinuousClock.now
        try execute(migration.sql, of: migration.name, on: target, on: connection)
        return Int64((ContinuousClock.now - start) / .milliseconds(1))
    }

    static func execute(
        _ sql: String,
        of migration: String,
        on target: MigrationTarget,
        on connection: isolated PostgresConnection
    ) throws {
        do {
            if case .organization(_, _, let schema) = target {
                try connection.execute("SET LOCAL search_path = \(quoteIdentifier(schema)), pg_temp")
            }
            // With this setting, the event triggers that protect the guards allow what a migration changes.
            try connection.execute("SET LOCAL fieldseal.maintenance = 'on'")
            try connection.execute(sql)
            try connection.execute("RESET search_path; RESET fieldseal.maintenance")
        } catch let error as PostgresError where error.kind == .server {
            throw MigrationError.failed(target: "\(target)", name: migration, reason: error.description)
        }
    }

    /// Acts as `fieldseal_owner` until the transaction ends.
    ///
    /// - Throws: ``MigrationError`` `.notBootstrapped`, or `.mayNotBecomeOwner`.
    package static func becomeOwner(on connection: isolated PostgresConnection) throws {
        let row = try connection.query(
            """
            SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'fieldseal_owner'),
                   EXISTS (SELECT FROM pg_roles WHERE rolname = 'fieldseal_service' AND pg_has_role(current_user, oid, 'MEMBER'))
            """)[0]
        guard try row.decode(0) else { throw MigrationError.notBootstrapped }
        do {
            try connection.execute("SET LOCAL ROLE fieldseal_owner")
        } catch let error as PostgresError where error.state == .insufficientPrivilege {
            throw MigrationError.mayNotBecomeOwner(role: connection.userName, isService: try row.decode(1))
        }
    }

    static func status(_ target: MigrationTarget, applied: [AppliedMigration]) -> MigrationStatus {
        let known = MigrationCatalog.migrations(target.scope)
        var problem: MigrationError?
        for row in applied where problem == nil {
            guard let migration = known.first(where: { $0.name == row.name }) else {
                problem = .newerDatabase(target: "\(target)", name: row.name)
                continue
            }
            if migration.checksum != row.checksum { problem = .changedAfterApplied(target: "\(target)", name: row.name) }
        }
        let names = Set(applied.map(\.name))
        return MigrationStatus(
            target: target, applied: applied, pending: known.map(\.name).filter { !names.contains($0) }, problem: problem)
    }

    private static func organizations(
        on connection: isolated PostgresConnection,
        named name: String?
    ) throws -> [MigrationTarget] {
        let there = try connection.query("SELECT to_regclass('config.organization') IS NOT NULL")
        guard try there[0].decode(0) else { return [] }
        return try connection.query(
            "SELECT organization_id, name, schema_name FROM config.organization WHERE $1 IS NULL OR name = $1 ORDER BY name",
            [.text(name)]
        )
        .map { .organization(id: try $0.decode(0), name: try $0.decode(1), schema: try $0.decode(2)) }
    }
}
