import Synchronization

/// Finds out which session a connection waits for, while it waits. Once its statement has been cancelled by `lock_timeout`,
/// PostgreSQL does not tell any more.
///
/// The watch has its own connection, which it opens after a second.
public final class LockWatch: Sendable {
    /// The sessions that are watched.
    public enum Waiters: Sendable {
        /// Sessions by the ids of their server processes.
        case backends([Int32])
        /// The sessions of this login that have this `application_name`.
        case application(String)
        /// All sessions of the database that have waited for a lock for this time.
        case all(since: Duration)

        /// SQL for the process ids of the sessions. `$1` is ``parameter``.
        var sql: String {
            switch self {
            case .backends: "SELECT unnest($1)::integer AS pid"
            case .application: "SELECT pid FROM pg_stat_activity WHERE application_name = ANY ($1) AND usename = current_user"
            case .all:
                """
                SELECT DISTINCT l.pid FROM pg_locks AS l JOIN pg_stat_activity AS s USING (pid)
                 WHERE NOT l.granted AND l.waitstart < clock_timestamp() - ($1)[1]::interval AND s.datname = current_database()
                """
            }
        }

        var parameter: PostgresParameter {
            switch self {
            case .backends(let backends): .texts(backends.map { "\($0)" })
            case .application(let name): .texts([name])
            case .all(let duration): .texts(["\(duration / .milliseconds(1)) milliseconds"])
            }
        }
    }

    private final class Found: Sendable {
        let holder = Mutex<LockHolder?>(nil)
    }

    private static let interval = Duration.seconds(1)

    private let found: Found
    private let task: Task<Void, Never>

    /// Begins to watch.
    ///
    /// - Parameter conninfo: The database in which the sessions wait.
    public init(_ waiters: Waiters, in conninfo: String) {
        let found = Found()
        self.found = found
        task = Task { await Self.watch(waiters, in: conninfo, found) }
    }

    deinit { task.cancel() }

    /// The session that was waited for last; nil if none was seen.
    public var holder: LockHolder? { found.holder.withLock { $0 } }

    private static func watch(_ waiters: Waiters, in conninfo: String, _ found: Found) async {
        var connection: PostgresConnection?
        while (try? await Task.sleep(for: interval)) != nil {
            do {
                if connection == nil {
                    connection = try await PostgresConnection.connect(conninfo, applicationName: "fieldseal lock watch")
                }
                let holder = try await connection?.run { try LockHolder.blocking(waiters, limit: 1, on: $0).first }
                if let holder { found.holder.withLock { $0 = holder } }
            } catch {
                // The watch only adds a name to an error. Without a connection, the error has no name.
                break
            }
        }
        await connection?.close()
    }
}
