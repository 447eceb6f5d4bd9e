import Foundation
package import PostgresClient

// The ledgers: `config.migration`, and one in each organization's schema.
extension MigrationRunner {
    /// Copies a schema's own ledger into `config.migration`, for a schema that was made by another deployment or an earlier
    /// `config`.
    package static func adoptLedger(of target: MigrationTarget, on connection: isolated PostgresConnection) throws {
        guard case .organization(let id, _, let schema) = target else { return }
        _ = try connection.query(
            """
            INSERT INTO config.migration (scope, organization_id, name, checksum, milliseconds, applied_on, applied_by)
            SELECT 'org', $1, name, checksum, milliseconds, applied_on, applied_by FROM \(quoteIdentifier(schema)).migration
            ON CONFLICT DO NOTHING
            """,
            [.uuid(id)]
        )
        _ = try connection.query(
            "UPDATE config.organization SET schema_version = (SELECT max(name) FROM \(quoteIdentifier(schema)).migration) WHERE organization_id = $1",
            [.uuid(id)])
    }

    /// The applied migrations of a target. The target is locked against other migrations until the transaction ends.
    @discardableResult
    package static func lockedLedger(of target: MigrationTarget, on connection: isolated PostgresConnection) throws
        -> [AppliedMigration]
    {
        try becomeOwner(on: connection)
        _ = try connection.query("SELECT pg_advisory_xact_lock(\(lockClass), hashtext($1))", [.text("\(target)")])
        try prepareLedger(of: target, on: connection)
        return try ledger(target, on: connection)
    }

    static func record(
        _ migrations: [(Migration, milliseconds: Int64)], of target: MigrationTarget, on connection: isolated PostgresConnection
    ) throws {
        guard let last = migrations.last?.0 else { return }
        if case .organization(let id, _, _) = target {
            _ = try connection.query(
                "UPDATE config.organization SET schema_version = $2 WHERE organization_id = $1", [.uuid(id), .text(last.name)])
        }
        let rows: [PostgresParameter] = [
            .texts(migrations.map(\.0.name)), .texts(migrations.map(\.0.checksum)), .int64s(migrations.map(\.milliseconds)),
        ]
        _ = try connection.query(
            """
            INSERT INTO config.migration (scope, organization_id, name, checksum, milliseconds)
            SELECT $4, $5, * FROM unnest($1, $2, $3)
            """,
            rows + [.text(target.scope.rawValue), .uuid(target.organizationID)]
        )
        guard case .organization(_, _, let schema) = target else { return }
        _ = try connection.query(
            "INSERT INTO \(quoteIdentifier(schema)).migration (name, checksum, milliseconds) SELECT * FROM unnest($1, $2, $3)", rows
        )
    }

    /// The first of the two integers of the advisory lock. Any number that no other program uses in this database would do.
    private static let lockClass = 0x0F5_0001

    private static func prepareLedger(of target: MigrationTarget, on connection: isolated PostgresConnection) throws {
        let columns = """
            name text NOT NULL, checksum text NOT NULL, milliseconds bigint NOT NULL,
            applied_on timestamptz NOT NULL DEFAULT now(), applied_by text NOT NULL DEFAULT session_user
            """
        switch target {
        case .config:
            try connection.execute(
                """
                CREATE SCHEMA IF NOT EXISTS config;
                CREATE TABLE IF NOT EXISTS config.migration (scope text NOT NULL, organization_id uuid, \(columns));
                CREATE UNIQUE INDEX IF NOT EXISTS migration_once ON config.migration
                    (scope, coalesce(organization_id, '00000000-0000-0000-0000-000000000000'), name);
                """
            )
        case .organization(_, _, let schema):
            try connection.execute(
                "CREATE TABLE IF NOT EXISTS \(quoteIdentifier(schema)).migration (\(columns), PRIMARY KEY (name))")
        }
    }

    /// SQL for the condition that a row of `config.migration` belongs to the organization $2, or to the deployment if $2 is null.
    /// The expression is the same as in the table's index, so that PostgreSQL can use the index.
    static let ofTarget = """
        coalesce(organization_id, '00000000-0000-0000-0000-000000000000') = coalesce($2::uuid, '00000000-0000-0000-0000-000000000000')
        """

    private static func ledger(
        _ target: MigrationTarget,
        on connection: isolated PostgresConnection
    ) throws -> [AppliedMigration] {
        try connection.query(
            """
            SELECT name, checksum, milliseconds, applied_on, applied_by FROM config.migration
            WHERE scope = $1 AND \(ofTarget) ORDER BY name
            """,
            [.text(target.scope.rawValue), .uuid(target.organizationID)]
        )
        .map { try AppliedMigration($0) }
    }

    /// The applied migrations of these targets, read in one statement. Under the key nil are the deployment's migrations.
    static func ledgers(
        of targets: [MigrationTarget], on connection: isolated PostgresConnection
    ) throws -> [UUID?: [AppliedMigration]] {
        let rows = try connection.query(
            """
            SELECT name, checksum, milliseconds, applied_on, applied_by, organization_id FROM config.migration
            WHERE scope = 'config' OR organization_id = ANY ($1) ORDER BY name
            """, [.uuids(targets.compactMap(\.organizationID))])
        return try rows.reduce(into: [:]) { try $0[$1.decodeIfPresent(5, as: UUID.self), default: []].append(AppliedMigration($1)) }
    }

    /// The ledger in an organization's schema; nil if it does not exist.
    static func ownLedger(of schema: String, on connection: isolated PostgresConnection) throws -> [String]? {
        try connection.transaction {
            try becomeOwner(on: connection)
            let table = "\(quoteIdentifier(schema)).migration"
            let isThere = try connection.query("SELECT to_regclass($1) IS NOT NULL", [.text(table)])[0].decode(0, as: Bool.self)
            return isThere ? try connection.query("SELECT name FROM \(table) ORDER BY name").map { try $0.decode(0) } : nil
        }
    }
}
