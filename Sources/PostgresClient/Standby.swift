import Synchronization

/// A standby for reads of any length. The standby runs a read only after it has replayed all that the primary had written when the
/// read began.
///
/// Reads use the standby only while ``run()`` finds that it responds and follows the right primary.
public final class Standby: Sendable {
    /// Distinguishes the primary from a copy of it that was started separately, such as a restored clone. The primary and the copy
    /// may have the same identifier, timeline and position.
    public struct Mark: Sendable {
        fileprivate let expression: String
        fileprivate let condition: String

        /// - Parameters:
        ///   - expression: An SQL expression for a text that the primary changes from time to time; null if there is none yet.
        ///   - condition: An SQL condition that is true if a server has the text `$1`, or had it before.
        public init(_ expression: String, holdsIf condition: String) { (self.expression, self.condition) = (expression, condition) }
    }

    /// A position in a primary's write-ahead log.
    public struct Position: Sendable {
        fileprivate let system: String
        fileprivate let database: String
        fileprivate let timeline: Int
        fileprivate let location: String
        fileprivate let mark: String?

        /// The position that ``Standby/positionStatement`` returned.
        public init(_ result: PostgresResult) throws {
            system = try result[0].decode(0)
            database = try result[0].decode(1)
            timeline = try result[0].decode(2)
            location = try result[0].decode(3)
            mark = try result[0].decodeIfPresent(4)
        }
    }

    /// How many reads the standby ran, and how many it left to the primary, since the start.
    public struct Counts: Sendable {
        /// Reads that the standby ran.
        public fileprivate(set) var served = 0
        /// Reads that the standby did not run, so that the primary ran them.
        public fileprivate(set) var left = 0
    }

    private struct State {
        var counts = Counts()
        var isThere = false
        /// The primary's position at the last read, and whether the standby has been found to follow that primary.
        var position: Position?
        var isGenuine = false
        var restsUntil: ContinuousClock.Instant?
    }

    private let pool: ConnectionPool
    private let conninfo: String
    private let patience: Duration
    private let mark: Mark
    private let state = Mutex(State())

    /// The pause between two queries for how far the standby has replayed.
    private static let pause = Duration.milliseconds(2)
    /// How long reads do not try the standby after it was unreachable or too far behind.
    private static let rest = Duration.seconds(1)
    /// The time between two checks whether the standby responds.
    private static let interval = Duration.milliseconds(500)
    /// How long ``isStandby(_:of:mark:)`` waits for a standby that is behind.
    private static let trialLimit = Duration.seconds(3)
    /// The time limit of a response.
    private static let responseLimit = Duration.seconds(2)

    /// Makes a standby, which connects at the first read.
    ///
    /// - Parameters:
    ///   - configuration: Its connection string has `target_session_attrs=standby`.
    ///   - mark: What the primary has, and a separately started copy of it does not have.
    ///   - patience: How long a read waits for the standby to replay what the primary had written.
    public init(_ configuration: ConnectionPool.Configuration, mark: Mark, patience: Duration) {
        pool = ConnectionPool(configuration)
        conninfo = configuration.conninfo
        (self.mark, self.patience) = (mark, patience)
    }

    /// The statement that returns the primary's position.
    public var positionStatement: String { mark.positionStatement }

    /// The counts since the start (`counts`), and whether the standby responds and follows the primary (`isThere`).
    public var figures: (counts: Counts, isThere: Bool) { state.withLock { ($0.counts, $0.isThere && $0.isGenuine) } }

    /// Closes idle connections, and lent ones when they are returned.
    public func close() async { await pool.close() }

    /// Closes all connections. Running statements end with an error.
    public func closeAtOnce() async { await pool.closeAtOnce() }

    /// Checks every 500 ms whether the standby responds, until the task is cancelled. If it does not respond, the reads that are
    /// running on it end, and the primary runs them.
    public func run() async {
        var connection: PostgresConnection?
        while !Task.isCancelled {
            var isThere = false
            if let connection {
                isThere = await connection.responds(within: Self.responseLimit) { try self.verify($0) }
            }
            if !isThere {
                state.withLock { $0.isThere = false }
                pool.cut()
                await connection?.close()
                connection = try? await PostgresConnection.connect(conninfo, applicationName: "fieldseal watch")
                isThere = connection != nil
            }
            state.withLock { $0.isThere = isThere }
            try? await Task.sleep(for: Self.interval)
        }
        await connection?.close()
    }

    /// Whether the server is a standby. Once the standby has replayed the last known position, also records whether it follows the
    /// primary.
    private func verify(_ connection: isolated PostgresConnection) throws -> Bool {
        guard let position = state.withLock(\.position) else { return try connection.isStandby() }
        let replay = try connection.replay(of: position, mark)
        if replay != .ahead { state.withLock { $0.isGenuine = replay == .done } }
        return true
    }

    /// Runs a read.
    ///
    /// - Parameter position: What the primary had written when the read began.
    /// - Returns: Nil when the standby could not run the read. The caller then runs the read on the primary.
    /// - Throws: The errors of `body`, except errors of PostgreSQL. After an error of PostgreSQL the result is nil, and the primary
    ///   runs the read again.
    public func read<Result: Sendable>(
        after position: Position, _ body: @escaping @Sendable (isolated PostgresConnection) throws -> Result
    ) async throws -> Result? {
        var isAble = false
        var result: Result?
        do {
            if mayRead(after: position) {
                let end = ContinuousClock.now + patience
                (isAble, result) = try await pool.withConnection { connection in
                    guard try await connection.replay(of: position, nil, until: end, every: Self.pause) == .done else {
                        return (false, nil)
                    }
                    return (true, try body(connection))
                }
            } else {
                isAble = true
            }
        } catch let error as PostgresError {
            isAble = !error.isConnectionLoss
        } catch is PoolError {
            isAble = true
        }
        try Task.checkCancellation()
        state.withLock { state in
            if result != nil { state.counts.served += 1 } else { state.counts.left += 1 }
            if !isAble { state.restsUntil = .now + Self.rest }
        }
        return result
    }

    private func mayRead(after position: Position) -> Bool {
        state.withLock { state in
            state.position = position
            return state.isThere && state.isGenuine && state.restsUntil.map { $0 <= .now } ?? true
        }
    }

    /// Whether a server is a standby of the one that accepts writes.
    ///
    /// - Returns: Nil if the server is so far behind that this can't be determined.
    /// - Throws: ``PostgresError`` when one of the servers can't be queried.
    public static func isStandby(_ conninfo: String, of primary: String, mark: Mark) async throws -> Bool? {
        let position = try await ask(primary) { try Position($0.query(mark.positionStatement)) }
        let end = ContinuousClock.now + trialLimit
        let replay = try await ask(conninfo) {
            try await $0.replay(of: position, position.mark == nil ? nil : mark, until: end, every: Self.interval)
        }
        return replay == .ahead ? nil : replay == .done
    }

    private static func ask<Value: Sendable>(
        _ conninfo: String, _ body: @Sendable (isolated PostgresConnection) async throws -> Value
    ) async throws -> Value {
        let connection = try await PostgresConnection.connect(conninfo, applicationName: "fieldseal command")
        do {
            let value = try await connection.run(body)
            await connection.close()
            return value
        } catch {
            await connection.close()
            throw error
        }
    }
}

extension Standby.Mark {
    /// Uses the flush position: everything that was committed and acknowledged is flushed, and unflushed records may never reach
    /// a standby.
    fileprivate var positionStatement: String {
        """
        SELECT system_identifier::text, current_database()::text,
               ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::int8, pg_current_wal_flush_lsn()::text,
               (\(expression))
          FROM pg_control_system()
        """
    }
}

/// Whether a standby has replayed a position.
private enum Replay {
    case done
    /// The standby has not replayed the position yet.
    case ahead
    /// The server is not a standby of the position's server.
    case never
}

extension PostgresConnection {
    /// Whether this server is a standby now.
    fileprivate func isStandby() throws -> Bool { try query("SELECT pg_is_in_recovery()")[0].decode(0) }

    /// Whether this server has replayed a position.
    ///
    /// The timeline distinguishes a standby of the primary from a standby that follows a former primary. The timeline is read from
    /// the control file, which may be out of date: after a failover, a standby may report the former timeline until its next
    /// restartpoint.
    ///
    /// - Parameter mark: Nil if the mark was compared before.
    fileprivate func replay(of position: Standby.Position, _ mark: Standby.Mark?) throws -> Replay {
        let row = try query(
            """
            SELECT pg_is_in_recovery() AND s.system_identifier::text = $1 AND current_database() = $2
                   AND greatest(c.timeline_id, r.min_recovery_end_timeline) = $3,
                   coalesce(pg_last_wal_replay_lsn() >= $4::pg_lsn, false)
              FROM pg_control_system() AS s, pg_control_checkpoint() AS c, pg_control_recovery() AS r
            """, [.text(position.system), .text(position.database), .int64(Int64(position.timeline)), .text(position.location)])[0]
        guard try row.decode(0, as: Bool.self) else { return .never }
        guard try row.decode(1, as: Bool.self) else { return .ahead }
        guard let mark else { return .done }
        return try query("SELECT \(mark.condition)", [.text(position.mark)])[0].decodeIfPresent(0) == true ? .done : .never
    }

    /// Waits until this server has replayed a position, or until `end`.
    fileprivate func replay(
        of position: Standby.Position, _ mark: Standby.Mark?, until end: ContinuousClock.Instant, every pause: Duration
    ) async throws -> Replay {
        while true {
            let replay = try replay(of: position, mark)
            guard replay == .ahead, .now < end else { return replay }
            try await Task.sleep(for: pause)
        }
    }
}
