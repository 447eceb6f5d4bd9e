import PostgresClient

extension Doctor {
    /// How long a statement waits for a lock of another transaction. Many statements may wait for the same lock.
    package static let lockLimit = Duration.seconds(3)

    /// The finding that a part of the examination waited too long for a lock. It names the process that holds the lock.
    func heldUp(_ what: String, of subject: String) async -> Finding {
        let holder = try? await lockHolder()
        return Finding(
            .error, "not-checked", subject,
            "\(what) could not be checked: for \(Self.lockLimit.components.seconds) seconds, "
                + (holder?.words ?? "some transaction held a lock on it"),
            advice: holder.map {
                "find out who opened that transaction, and end it: SELECT pg_terminate_backend(\($0.process)); then run fieldseal doctor again"
            } ?? "run fieldseal doctor again")
    }

    /// The database session whose lock keeps other sessions from reading a table of the program; nil if none does any more.
    private func lockHolder() async throws -> (process: Int, words: String)? {
        let connection = try await connect()
        let row = try await connection.run { connection in
            try connection.query(
                """
                SELECT a.pid, format('process %s (%s, %s) holds a lock on %s since %s', a.pid,
                                     coalesce(nullif(a.application_name, ''), a.backend_type), a.state, c.oid::regclass,
                                     to_char(coalesce(a.xact_start, a.backend_start), 'YYYY-MM-DD HH24:MI:SS'))
                  FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) JOIN pg_class AS c ON c.oid = l.relation
                  JOIN pg_namespace AS n ON n.oid = c.relnamespace
                 WHERE l.granted AND l.mode = 'AccessExclusiveLock' AND c.relkind IN ('r', 'p')
                   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                   AND (n.nspname IN ('config', 'cell', 'pg_catalog') OR starts_with(n.nspname, 'org_'))
                 ORDER BY a.xact_start LIMIT 1
                """
            ).first.map { (process: try $0.decode(0, as: Int.self), words: try $0.decode(1, as: String.self)) }
        }
        await connection.close()
        return row
    }
}
