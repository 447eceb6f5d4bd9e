import Synchronization

/// A pool of connections that callers borrow. At most ``Configuration/limit`` connections are open.
public final class ConnectionPool: Sendable {
    /// A pool's limits.
    public struct Configuration: Sendable {
        /// libpq's connection string.
        public var conninfo: String
        /// How many connections are open at most.
        public var limit: Int
        /// How many callers may wait for a connection.
        public var waiterLimit: Int
        /// How long a caller waits for a connection.
        public var waitLimit: Duration
        /// The name in `pg_stat_activity`.
        public var applicationName: String
        /// How many connections one ``PoolBorrower`` may hold at a time; nil for no limit.
        public var share: Int?
        /// The time limit of a statement (`statement_timeout`); nil for the role's setting.
        public var statementLimit: Duration?
        /// How long a statement waits for a lock (`lock_timeout`); nil for no limit. Its error names a session that holds locks.
        public var lockLimit: Duration?

        /// Makes a configuration. Every parameter except the connection string has a default.
        public init(
            conninfo: String,
            limit: Int = 16,
            waiterLimit: Int = 1_024,
            waitLimit: Duration = .seconds(10),
            applicationName: String = "fieldseal",
            share: Int? = nil,
            statementLimit: Duration? = nil,
            lockLimit: Duration? = nil
        ) {
            self.conninfo = conninfo
            self.limit = limit
            self.waiterLimit = waiterLimit
            self.waitLimit = waitLimit
            self.applicationName = applicationName
            self.share = share
            self.statementLimit = statementLimit
            self.lockLimit = lockLimit
        }
    }

    private typealias Waiter = CheckedContinuation<PostgresConnection?, any Error>
    private let configuration: Configuration
    private let state: Mutex<PoolState<PostgresConnection, Waiter>>
    private let lastWaiter = Atomic<UInt64>(0)
    private let opened = Mutex<[Opened]>([])

    /// A weak reference to the canceller of an open connection.
    private struct Opened {
        weak var canceller: Canceller?
    }

    /// Makes a pool without connections. Connections are opened when they are needed.
    public init(_ configuration: Configuration) {
        self.configuration = configuration
        state = Mutex(
            PoolState(limit: configuration.limit, waiterLimit: configuration.waiterLimit, borrowerLimit: configuration.share))
    }

    /// The numbers of open connections, of idle ones among them, and of waiting callers.
    public var load: (open: Int, idle: Int, waiting: Int) {
        state.withLock { ($0.open, $0.idle.count, $0.waiters.count) }
    }

    /// Lends a connection while a closure runs. Cancelling the task cancels the running statement.
    ///
    /// A connection that the server closed is replaced before `body` runs. A connection that is broken, or in a transaction, is
    /// closed afterwards.
    ///
    /// - Throws: ``PoolError`` when no connection is free in time; ``PostgresError`` when connecting fails; the errors of `body`.
    public func withConnection<Result: Sendable>(
        _ body: @Sendable (isolated PostgresConnection) async throws -> Result
    ) async throws -> Result {
        let borrower = PoolBorrower.current
        // Each attempt removes one connection that the server closed. The last attempt uses a new connection.
        for _ in 0...configuration.limit {
            let connection = try await acquire(for: borrower)
            let watch =
                await configuration.lockLimit == nil
                ? nil : LockWatch(.backends([connection.backendID]), in: configuration.conninfo)
            let (result, isReusable) = await connection.lend(body)
            giveBack(connection, isReusable, by: borrower)
            do {
                if let result = try result.get() { return result }
            } catch let error as PostgresError where error.state == .lockNotAvailable {
                guard let limit = configuration.lockLimit, let watch else { throw error }
                throw error.heldUp(for: limit, by: watch)
            }
        }
        throw PostgresError(kind: .connection, message: "PostgreSQL closes each connection at once")
    }

    /// Closes idle connections, refuses waiting callers, and closes lent connections when they are returned.
    public func close() async {
        let (idle, waiters) = state.withLock { $0.close() }
        for waiter in waiters { waiter.resume(throwing: PoolError.closed) }
        for connection in idle { await connection.close() }
    }

    /// Closes the pool, and shuts down the connections whose statements run. The callers of these statements get an error at once.
    public func closeAtOnce() async {
        await close()
        cut()
    }

    /// Shuts down all connections. Callers that use a connection get an error; later callers get new connections.
    func cut() {
        for connection in opened.withLock({ $0.compactMap(\.canceller) }) { connection.cut() }
    }

    private func acquire(for borrower: PoolBorrower?) async throws -> PostgresConnection {
        try Task.checkCancellation()
        switch state.withLock({ $0.acquire(for: borrower) }) {
        case .use(let connection): return connection
        case .connect: return try await connect(for: borrower)
        case .refuse: throw state.withLock(\.isClosed) ? PoolError.closed : PoolError.exhausted
        case .wait:
            if let connection = try await wait(for: borrower) { return connection }
            return try await connect(for: borrower)
        }
    }

    private func connect(for borrower: PoolBorrower?) async throws -> PostgresConnection {
        do {
            let connection = try await PostgresConnection.connect(
                configuration.conninfo, applicationName: configuration.applicationName)
            if let limit = configuration.statementLimit { try await connection.limitStatements(to: limit) }
            if let limit = configuration.lockLimit { try await connection.limitLocks(to: limit) }
            opened.withLock { opened in
                opened.removeAll { $0.canceller == nil }
                opened.append(Opened(canceller: connection.canceller))
            }
            return connection
        } catch {
            state.withLock { $0.discard(by: borrower) }?.resume(returning: nil)
            throw error
        }
    }

    /// Waits for a connection. Returns nil if the caller may open a new connection instead.
    private func wait(for borrower: PoolBorrower?) async throws -> PostgresConnection? {
        let id = lastWaiter.add(1, ordering: .relaxed).newValue
        let limit = configuration.waitLimit
        let timer = Task {
            try await Task.sleep(for: limit)
            let (waiter, error) = state.withLock {
                ($0.remove(id: id), $0.holdsItsLimit(borrower) ? PoolError.shareExhausted : PoolError.exhausted)
            }
            waiter?.resume(throwing: error)
        }
        defer { timer.cancel() }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (waiter: Waiter) in
                // A connection may have been returned since the pool's state was checked.
                let action = state.withLock { state in
                    let action = state.acquire(for: borrower)
                    if case .wait = action { state.enqueue(waiter, id: id, for: borrower) }
                    return action
                }
                switch action {
                case .use(let connection): waiter.resume(returning: connection)
                case .connect: waiter.resume(returning: nil)
                case .refuse: waiter.resume(throwing: PoolError.exhausted)
                case .wait: if Task.isCancelled { giveUp(id) }
                }
            }
        } onCancel: {
            giveUp(id)
        }
    }

    private func giveUp(_ id: UInt64) {
        state.withLock { $0.remove(id: id) }?.resume(throwing: CancellationError())
    }

    private func giveBack(_ connection: PostgresConnection, _ isReusable: Bool, by borrower: PoolBorrower?) {
        // A discarded connection closes itself when its last reference is released.
        state.withLock { isReusable ? $0.release(connection, by: borrower) : $0.discard(by: borrower) }?
            .resume(returning: isReusable ? connection : nil)
    }
}
