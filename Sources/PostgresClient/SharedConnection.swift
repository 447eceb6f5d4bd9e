import Synchronization

/// One connection that carries short statements of many callers: what they ask for while it is busy goes out together, in the
/// next round trip.
///
/// Each caller's statements are a transaction of their own, and his error is his alone. PostgreSQL runs them one after the
/// other, so this is for statements that take microseconds. One that waits for a lock is given up after
/// ``Configuration/lockLimit``; its caller, and for a while everybody, is sent to a connection of his own.
public final class SharedConnection: Sendable {
    /// One statement and its parameters.
    public typealias Statement = (sql: String, parameters: [PostgresParameter])

    /// A shared connection's limits.
    public struct Configuration: Sendable {
        /// libpq's connection string.
        public var conninfo: String
        /// Callers whose statements go out together, at most.
        public var batchLimit = 32
        /// Callers that may wait for the next round trip.
        public var queueLimit = 256
        /// Milliseconds that a statement may wait for a lock.
        public var lockLimit = 20
        /// How long nothing is carried after a statement had to be given up, or connecting failed.
        public var rest = Duration.seconds(1)

        public init(conninfo: String) { self.conninfo = conninfo }
    }

    private struct Request {
        let statements: [Statement]
        let continuation: CheckedContinuation<[PostgresResult]?, any Error>
    }

    private struct State {
        var queue: [Request] = []
        var isServing = false
        var connection: PostgresConnection?
        var restsUntil: ContinuousClock.Instant?
        var isClosed = false
    }

    private let configuration: Configuration
    private let state = Mutex(State())

    public init(_ configuration: Configuration) { self.configuration = configuration }

    /// Callers that wait for the next round trip, or for the answer of this one.
    public var load: Int { state.withLock { $0.queue.count + ($0.isServing ? 1 : 0) } }

    /// Runs statements in one transaction of their own.
    ///
    /// - Returns: Nil when nothing was done, and a connection of one's own is the way.
    /// - Throws: ``PostgresError`` of the first statement that failed; the others were not run.
    public func run(_ statements: [Statement]) async throws -> [PostgresResult]? {
        try await withCheckedThrowingContinuation { continuation in
            let (isTaken, starts) = state.withLock { state in
                guard !state.isClosed, state.queue.count < configuration.queueLimit,
                    state.restsUntil.map({ $0 <= .now }) ?? true
                else { return (false, false) }
                state.queue.append(Request(statements: statements, continuation: continuation))
                defer { state.isServing = true }
                return (true, !state.isServing)
            }
            if !isTaken { continuation.resume(returning: nil) }
            if starts { Task { await serve() } }
        }
    }

    /// Closes the connection; who asks afterwards is sent elsewhere.
    public func close() async {
        let connection = state.withLock { state in
            state.isClosed = true
            return state.connection
        }
        await connection?.close()
    }

    private func serve() async {
        do {
            let connection: PostgresConnection
            if let open = state.withLock(\.connection) {
                connection = open
            } else {
                connection = try await PostgresConnection.connect(configuration.conninfo)
                try await connection.execute("SET lock_timeout = '\(configuration.lockLimit)ms'")
                state.withLock { $0.connection = connection }
            }
            await connection.serve(self)
        } catch {
            // Whoever waits finds out on a connection of his own why there is none.
            rest()
        }
    }

    /// The next callers' statements; none when nobody waits, and then nobody serves any more.
    fileprivate func next() -> [(statements: [Statement], finish: @Sendable (Result<[PostgresResult], any Error>) -> Void)] {
        let requests = state.withLock { state in
            let batch = Array(state.queue.prefix(configuration.batchLimit))
            state.queue.removeFirst(batch.count)
            if batch.isEmpty { state.isServing = false }
            return batch
        }
        return requests.map { request in
            (
                request.statements,
                { result in
                    if case .failure(let error as PostgresError) = result, error.isGivenUp {
                        request.continuation.resume(returning: nil)
                    } else {
                        request.continuation.resume(with: result.map { $0 })
                    }
                }
            )
        }
    }

    /// Sends everybody elsewhere for a while.
    ///
    /// - Parameter isBroken: Whether the connection can't be used again.
    fileprivate func rest(isBroken: Bool = true) {
        let waiting = state.withLock { state in
            defer { state.queue = [] }
            state.isServing = false
            state.restsUntil = .now + configuration.rest
            if isBroken { state.connection = nil }
            return state.queue
        }
        for request in waiting { request.continuation.resume(returning: nil) }
    }
}

extension PostgresError {
    /// Whether a statement waited too long for a lock, or was prepared for tables that changed since: nothing was done.
    fileprivate var isGivenUp: Bool { sqlState == "55P03" || isStalePlan }
}

extension PostgresConnection {
    /// Serves who waits, until nobody does.
    fileprivate func serve(_ callers: SharedConnection) {
        guard isIdle else { return callers.rest() }
        while true {
            let requests = callers.next()
            guard !requests.isEmpty else { return }
            let results = pipelines(requests.map(\.statements))
            let isGivenUp = results.contains {
                if case .failure(let error as PostgresError) = $0 { error.sqlState == "55P03" } else { false }
            }
            // Before the callers hear of it, so that they don't come back at once.
            let isUsable = isIdle
            if isGivenUp || !isUsable { callers.rest(isBroken: !isUsable) }
            for (request, result) in zip(requests, results) { request.finish(result) }
            if isGivenUp || !isUsable { return }
        }
    }
}
