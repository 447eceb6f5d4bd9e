import Foundation
import JSON
import PostgresClient
import Tenancy

/// Notes, in the source database, which rows are written while an organization is copied. The journal is a schema. For each of the
/// organization's tables the journal has a table of primary keys, and a trigger function that fills this table.
///
/// The triggers note writes only while the move holds the journal's lock. After an interrupted move the triggers do nothing, until
/// the next move removes them.
struct MoveJournal: Sendable {
    let organization: Organization

    private static let trigger = "notes_move"
    private static let truncateTrigger = "notes_move_truncate"
    /// How long to wait for the lock that removes a trigger. This time is short, because readers of the table have to wait behind
    /// the removal.
    private static let removalTimeout = "100ms"
    /// The pause between two attempts to remove a trigger.
    private static let removalPause = Duration.milliseconds(200)
    private static let removalAttempts = 50
    /// How long to wait for the journal's own lock. Writers that met triggers of an earlier move hold this lock until their
    /// transactions end.
    private static let lockTimeout = "60s"

    init(of organization: Organization) { self.organization = organization }

    /// The name comes from the organization's id, which a renaming does not change.
    var schema: String { "moving_\(organization.id.text.replacing("-", with: ""))" }

    func qualified(_ name: String) -> String { "\(quoteIdentifier(schema)).\(quoteIdentifier(name))" }

    /// Takes the journal's lock until the transaction ends. Writes of this transaction itself are noted too.
    func lock(on connection: isolated PostgresConnection) throws {
        try connection.execute("SET LOCAL lock_timeout = '\(Self.lockTimeout)'; SET LOCAL fieldseal.moving = 'on'")
        do {
            _ = try connection.query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [.text(schema)])
        } catch let error as PostgresError where error.state == .lockNotAvailable {
            throw HeldTables(organization: organization, change: "moved")
        }
        try connection.execute("SET LOCAL lock_timeout = 0")
    }

    // MARK: Creation

    /// Creates the tables and functions. Nothing is noted yet.
    func create(_ tables: [MoveTable], on connection: isolated PostgresConnection) throws {
        var sql = [
            "CREATE SCHEMA \(quoteIdentifier(schema))",
            """
            COMMENT ON SCHEMA \(quoteIdentifier(schema)) IS
                'Keys of rows that were written while fieldseal org move copied an organization. It is removed when the move ends.'
            """,
        ]
        for table in tables {
            let journal = qualified(table.name)
            sql.append(
                """
                CREATE UNLOGGED TABLE \(journal) AS SELECT \(table.keyList) FROM \(organization.qualified(table.name)) WITH NO DATA;
                \(function(of: table))
                """)
        }
        try connection.execute(sql.joined(separator: ";\n"))
    }

    private func function(of table: MoveTable) -> String {
        func row(_ side: String) -> String { table.keys.map { "\(side).\($0)" }.joined(separator: ", ") }
        let journal = qualified(table.name)
        return """
            CREATE FUNCTION \(journal)() RETURNS trigger
                LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
            BEGIN
                -- The lock is granted only if no move is running. Then nothing is recorded, because no move would read it.
                IF current_setting('fieldseal.moving', true) IS DISTINCT FROM 'on'
                    AND pg_try_advisory_xact_lock_shared(hashtextextended('\(schema)', 0)) THEN
                    RETURN NULL;
                END IF;
                IF TG_OP = 'TRUNCATE' THEN
                    RAISE EXCEPTION 'table % cannot be truncated while its organization is being moved', TG_TABLE_NAME
                        USING ERRCODE = 'FS003', HINT = 'Use DELETE, or wait until fieldseal org move has ended.';
                END IF;
                IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND (\(row("OLD"))) IS DISTINCT FROM (\(row("NEW"))) THEN
                    INSERT INTO \(journal) (\(table.keyList)) VALUES (\(row("OLD")));
                END IF;
                IF TG_OP <> 'DELETE' THEN
                    INSERT INTO \(journal) (\(table.keyList)) VALUES (\(row("NEW")));
                END IF;
                RETURN NULL;
            END
            $body$
            """
    }

    /// Creates the triggers. The transaction must have locked the writers out, so that each write after its commit is noted.
    func begin(_ tables: [MoveTable], on connection: isolated PostgresConnection) throws {
        let sql = tables.map { table in
            let (name, journal) = (organization.qualified(table.name), qualified(table.name))
            return """
                CREATE TRIGGER \(Self.trigger) AFTER INSERT OR UPDATE OR DELETE ON \(name) FOR EACH ROW EXECUTE FUNCTION \(journal)();
                CREATE TRIGGER \(Self.truncateTrigger) BEFORE TRUNCATE ON \(name) FOR EACH STATEMENT EXECUTE FUNCTION \(journal)();
                ALTER TABLE \(name) ENABLE ALWAYS TRIGGER \(Self.trigger), ENABLE ALWAYS TRIGGER \(Self.truncateTrigger)
                """
        }
        try connection.execute("SET LOCAL fieldseal.maintenance = 'on'; \(sql.joined(separator: "; "))")
    }

    /// Refuses to continue if a trigger was removed or disabled, because changes may be missing then.
    func requireComplete(_ tables: [MoveTable], on connection: isolated PostgresConnection) throws {
        let there = try connection.query(
            """
            SELECT c.relname::text FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_proc AS p ON p.oid = t.tgfoid
             WHERE c.oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace")) AND p.oid IN \(SchemaMembers.functions(of: "$2::text::regnamespace"))
               AND t.tgname = '\(Self.trigger)' AND t.tgenabled = 'A'
            """, [.text(quoteIdentifier(organization.schema)), .text(quoteIdentifier(schema))]
        ).map { try $0.decode(0, as: String.self) }
        guard let missing = tables.map(\.name).first(where: { !there.contains($0) }) else { return }
        throw OrganizationMove.refusal(
            "The trigger \(Self.trigger) of \(missing) was removed or disabled while \(organization.name) was copied, so changes may be "
                + "missing. Nothing was changed. Find out who did it, and run the move again.")
    }

    // MARK: Removal

    /// Removes the schema and what depends on it, inside the caller's transaction.
    func drop(on connection: isolated PostgresConnection) throws {
        try connection.execute("SET LOCAL fieldseal.maintenance = 'on'; DROP SCHEMA IF EXISTS \(quoteIdentifier(schema)) CASCADE")
    }

    /// Removes the journal of a move that has ended, one table after the other, so that no request waits for long.
    ///
    /// - Parameter isLocked: Whether the caller holds the journal's lock. If false, the journal is removed only if no other move
    ///   holds the lock.
    /// - Throws: ``PostgresError`` when a session has held one of the tables for too long.
    func remove(at registry: OrganizationRegistry, isLocked: Bool) async throws {
        let connection = try await PostgresConnection.connect(registry.conninfo, applicationName: OrganizationMove.application)
        let watch = LockWatch(.backends([await connection.backendID]), in: registry.conninfo)
        do {
            try await remove(on: connection, registry, isLocked)
            await connection.close()
        } catch let error as PostgresError where error.state == .lockNotAvailable {
            await connection.close()
            throw error.heldUp(for: .zero, by: watch)
        } catch {
            await connection.close()
            throw error
        }
    }

    private func remove(on connection: PostgresConnection, _ registry: OrganizationRegistry, _ isLocked: Bool) async throws {
        let found = try await connection.run { connection -> [String]? in
            let isThere = try connection.query("SELECT to_regnamespace($1) IS NOT NULL", [.text(quoteIdentifier(schema))])
            guard try isThere[0].decode(0) else { return nil }
            // This lock belongs to the session: it is held until the connection is closed.
            let isFree: Bool =
                try isLocked
                || connection.query("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", [.text(schema)])[0].decode(0)
            guard isFree else { return nil }
            return try connection.query(
                """
                SELECT DISTINCT t.tgrelid::regclass::text FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
                 WHERE p.oid IN \(SchemaMembers.functions(of: "to_regnamespace($1)"))
                """, [.text(quoteIdentifier(schema))]
            ).map { try $0.decode(0) }
        }
        guard let tables = found else { return }
        for table in tables {
            try await patiently(on: connection, registry) { connection in
                try connection.execute(
                    "DROP TRIGGER IF EXISTS \(Self.trigger) ON \(table); DROP TRIGGER IF EXISTS \(Self.truncateTrigger) ON \(table)"
                )
            }
        }
        try await patiently(on: connection, registry) { try drop(on: $0) }
    }

    private func patiently(
        on connection: PostgresConnection, _ registry: OrganizationRegistry,
        _ body: @Sendable (isolated PostgresConnection) throws -> Void
    ) async throws {
        for attempt in 1... {
            do {
                return try await connection.run { connection in
                    try connection.transaction {
                        try registry.begin(on: connection)
                        try connection.execute(
                            "SET LOCAL lock_timeout = '\(Self.removalTimeout)'; SET LOCAL fieldseal.maintenance = 'on'")
                        try body(connection)
                    }
                }
            } catch let error as PostgresError where error.state == .lockNotAvailable && attempt < Self.removalAttempts {
                try await Task.sleep(for: Self.removalPause)
            }
        }
    }
}
