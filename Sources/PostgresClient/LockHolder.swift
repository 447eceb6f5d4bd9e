/// A session whose open transaction holds locks that other sessions may wait for.
public struct LockHolder: Sendable {
    /// The server process of the session.
    public let process: Int
    /// The process with its login, its program, its state, what it holds, and the beginning of its transaction.
    public let words: String

    /// How an administrator ends the session.
    public var ending: String { "find out who opened that transaction, and end it: SELECT pg_terminate_backend(\(process))" }

    private init(_ row: PostgresRow) throws {
        process = try row.decode(0)
        words = try row.decode(1)
    }

    /// The locks for which ``list(_:for:limit:on:)`` looks.
    public enum Strength: Sendable {
        /// Locks that keep other sessions from reading a table.
        case againstReaders
        /// Locks that may keep other sessions from changing a table or some of its rows.
        case againstWriters

        fileprivate var condition: String {
            let isOfProgram = "(n.nspname IN ('config', 'cell', 'pg_catalog') OR starts_with(n.nspname, 'org_'))"
            return switch self {
            case .againstReaders: "\(isOfProgram) AND l.mode = 'AccessExclusiveLock'"
            case .againstWriters: "(l.locktype = 'advisory' OR \(isOfProgram) AND l.mode <> 'AccessShareLock')"
            }
        }
    }

    /// The sessions that hold locks on the program's tables. With ``Strength/againstWriters``, also the sessions that hold advisory
    /// locks of this database. The longest transaction is first.
    ///
    /// PostgreSQL shows only members of `pg_read_all_stats` when other logins' transactions began. Sessions whose transaction has
    /// an unknown beginning come last.
    ///
    /// - Parameters:
    ///   - age: How long their transactions have been open at least.
    ///   - limit: How many are returned at most.
    public static func list(
        _ strength: Strength, for age: Duration, limit: Int, on connection: isolated PostgresConnection
    ) throws -> [LockHolder] {
        try connection.query(
            """
            SELECT a.pid, \(words("h.held"))
              FROM (SELECT l.pid, min(coalesce(c.oid::regclass::text, 'an advisory lock'))
                               || CASE WHEN count(DISTINCT coalesce(l.relation, 0)) > 1 THEN ' and others' ELSE '' END AS held
                      FROM pg_locks AS l LEFT JOIN pg_class AS c ON c.oid = l.relation AND c.relkind IN ('r', 'p')
                      LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace
                     WHERE l.granted AND l.pid <> pg_backend_pid()
                       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                       AND \(strength.condition)
                     GROUP BY l.pid) AS h
              JOIN pg_stat_activity AS a USING (pid)
             WHERE a.usename IS NOT NULL AND coalesce(a.xact_start < clock_timestamp() - $1 * interval '1 ms', true)
             ORDER BY a.xact_start, a.pid LIMIT $2
            """, [.double(age / .milliseconds(1)), .int64(Int64(limit))]
        ).map(LockHolder.init)
    }

    /// The error of a statement that waited for a lock for too long, with the session that has held locks for the longest time.
    ///
    /// - Parameters:
    ///   - limit: How long the statement waited.
    ///   - databases: The connection strings of the databases in one of which the statement waited.
    public static func explain(_ error: PostgresError, after limit: Duration, in databases: [String]) async -> PostgresError {
        for conninfo in databases {
            let holders = try? await PostgresConnection.connect(conninfo, applicationName: "fieldseal command")
                .run { try list(.againstWriters, for: limit, limit: 1, on: $0) }
            if let holder = holders?.first { return error.heldUp(for: limit, by: holder) }
        }
        return error.heldUp(for: limit, by: nil)
    }

    /// The session with the longest transaction among those that some SQL selects.
    ///
    /// - Parameters:
    ///   - found: A FROM clause with `pg_stat_activity AS a`, and its conditions.
    ///   - held: What the sessions hold locks on, in words.
    public static func first(
        _ found: String, _ parameter: PostgresParameter, holds held: String, on connection: isolated PostgresConnection
    ) throws -> LockHolder? {
        try connection.query(
            "SELECT a.pid, \(words("$2::text")) \(found) ORDER BY a.xact_start LIMIT 1", [parameter, .text(held)]
        ).first.map(LockHolder.init)
    }

    /// SQL for ``words``.
    private static func words(_ held: String) -> String {
        """
        format('process %s (%s) holds a lock on %s', a.pid,
               concat_ws(', ', a.usename, coalesce(nullif(a.application_name, ''), a.backend_type), a.state), \(held))
            || coalesce(to_char(a.xact_start, '" since "YYYY-MM-DD HH24:MI:SS'), '')
        """
    }
}
