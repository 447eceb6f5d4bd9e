import PostgresClient
import Tenancy

/// Makes an organization's writers wait until a transaction ends. Readers continue.
enum WriterLock {
    /// How long one attempt waits for running writers. This time is short, because other requests have to wait behind the attempt.
    private static let attemptTimeout = "200ms"
    /// Seconds between two attempts, in which writers continue.
    private static let pause = 0.2
    /// How many attempts are made. With the pauses, these attempts take a minute.
    private static let attempts = 150

    /// Takes the locks that writers need, in short attempts. So an idle transaction of another session delays the caller, but it
    /// delays no writer for long.
    ///
    /// - Returns: When the successful attempt began. Writers have waited since then.
    /// - Throws: ``FieldsealError`` when other sessions held the tables for a minute.
    @discardableResult
    static func take(_ organization: Organization, on connection: isolated PostgresConnection) throws -> ContinuousClock.Instant {
        let tables = try connection.query(
            """
            SELECT c.oid::regclass::text FROM pg_class AS c
             WHERE c.oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace")) AND c.relkind IN ('r', 'p') ORDER BY 1
            """,
            [.text(quoteIdentifier(organization.schema))]
        ).map { try $0.decode(0, as: String.self) }
        try connection.execute("SET LOCAL lock_timeout = '\(attemptTimeout)'")
        for attempt in 1...attempts {
            let start = ContinuousClock.now
            do {
                try connection.execute("SAVEPOINT writers")
                // Writers that append events lock this row before they reach the tables, so this transaction locks the row first
                // too.
                _ = try connection.query(
                    "SELECT 1 FROM config.attested_state WHERE organization_id = $1 FOR UPDATE", [.uuid(organization.id)])
                try connection.execute("LOCK TABLE \(tables.joined(separator: ", ")) IN SHARE ROW EXCLUSIVE MODE")
                try connection.execute("SET LOCAL lock_timeout = 0")
                return start
            } catch let error as PostgresError where [.lockNotAvailable, .deadlock].contains(error.state) {
                guard attempt < attempts else { break }
                try connection.execute("ROLLBACK TO writers")
                _ = try connection.query("SELECT pg_sleep($1)", [.double(pause)])
            }
        }
        throw HeldTables(organization: organization, change: "moved")
    }
}
