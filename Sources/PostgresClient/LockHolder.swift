/// A session whose open transaction holds locks that other sessions may wait for.
public struct LockHolder: Sendable {
    /// The server process of the session; 0 for a prepared transaction, which has none.
    public let process: Int
    /// The process with its login, its program, its state, what it holds, and the beginning of its transaction.
    public let words: String

    /// How an administrator ends the session.
    public var ending: String {
        process == 0
            ? "fieldseal doctor names prepared transactions, and how to end them"
            : "find out who opened that transaction, and end it: SELECT pg_terminate_backend(\(process))"
    }

    private init(_ row: PostgresRow) throws {
        process = try row.decode(0)
        words = try row.decode(1)
    }

    /// The sessions that hold locks which may keep others from changing the program's tables or some of their rows, or advisory locks
    /// of this database. The longest transaction is first.
    ///
    /// PostgreSQL shows only members of `pg_read_all_stats` when other logins' transactions began. Sessions whose transaction has
    /// an unknown beginning come last.
    ///
    /// - Parameters:
    ///   - age: How long their transactions have been open at least.
    ///   - limit: How many are returned at most.
    public static func list(
        for age: Duration, limit: Int, on connection: isolated PostgresConnection
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
                       AND (l.locktype = 'advisory' OR l.mode <> 'AccessShareLock'
                            AND (n.nspname IN ('config', 'cell', 'pg_catalog') OR starts_with(n.nspname, 'org_')))
                     GROUP BY l.pid) AS h
              JOIN pg_stat_activity AS a USING (pid)
             WHERE a.usename IS NOT NULL AND coalesce(a.xact_start < clock_timestamp() - $1 * interval '1 ms', true)
             ORDER BY a.xact_start, a.pid LIMIT $2
            """, [.double(age / .milliseconds(1)), .int64(Int64(limit))]
        ).map(LockHolder.init)
    }

    /// The sessions that others wait for, directly or through other waiting sessions. A session that only reads is among them if a
    /// statement waits for it, such as `DROP TABLE`. The longest transaction is first.
    ///
    /// - Parameters:
    ///   - waiters: The sessions that wait.
    ///   - limit: How many sessions are returned at most.
    public static func blocking(
        _ waiters: LockWatch.Waiters, limit: Int, on connection: isolated PostgresConnection
    ) throws -> [LockHolder] {
        try connection.query(
            """
            WITH RECURSIVE waiting AS (\(waiters.sql)), chain (waiter, pid) AS (
                SELECT w.pid, b FROM waiting AS w, unnest(pg_blocking_pids(w.pid)) AS b
                UNION
                SELECT c.waiter, b FROM chain AS c, unnest(pg_blocking_pids(c.pid)) AS b),
            held AS (
                SELECT l.pid AS waiter,
                       min(CASE l.locktype WHEN 'advisory' THEN 'an advisory lock' ELSE l.relation::regclass::text END) AS name
                  FROM pg_locks AS l WHERE NOT l.granted OR l.locktype = 'tuple' GROUP BY l.pid),
            root AS (
                SELECT c.pid, coalesce(min(h.name), 'rows that it changed') AS held
                  FROM chain AS c LEFT JOIN held AS h USING (waiter) WHERE cardinality(pg_blocking_pids(c.pid)) = 0 GROUP BY c.pid)
            SELECT r.pid, CASE r.pid WHEN 0 THEN format('a prepared transaction holds a lock on %s', r.held) ELSE \(words("r.held")) END
              FROM root AS r LEFT JOIN pg_stat_activity AS a ON a.pid = r.pid
             WHERE r.pid = 0 OR a.pid IS NOT NULL ORDER BY a.xact_start, r.pid LIMIT $2
            """, [waiters.parameter, .int64(Int64(limit))]
        ).map(LockHolder.init)
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
