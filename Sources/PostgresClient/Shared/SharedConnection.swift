import Dispatch
public import Foundation
import Glibc
import Synchronization

/// One connection for short statements of many callers. Statements that arrive while the connection is busy are sent together, in
/// the next round trip.
///
/// PostgreSQL runs the statements one after the other, so use a shared connection only for statements that take microseconds. A
/// statement that waits for a lock is cancelled after ``Configuration/lockLimit``. The caller of that statement, and for a while
/// every caller, then uses a separate connection.
public final class SharedConnection: Sendable {
    /// One statement and its parameters.
    public typealias Statement = (sql: String, parameters: [PostgresParameter])

    /// A shared connection's limits.
    public struct Configuration: Sendable {
        /// libpq's connection string.
        public var conninfo: String
        /// How many callers' statements are sent together.
        public var batchLimit = 32
        /// How many callers may wait for the next round trip.
        public var queueLimit = 256
        /// Milliseconds that a statement may wait for a lock.
        public var lockLimit = 20
        /// The time limit of a statement (`statement_timeout`); nil for the role's setting.
        public var statementLimit: Duration?
        /// How long statements are refused after a statement waited too long for a lock, the connection was lost, or connecting
        /// failed.
        public var rest = Duration.seconds(1)

        /// Makes a configuration with the default limits.
        public init(conninfo: String, statementLimit: Duration? = nil) {
            self.conninfo = conninfo
            self.statementLimit = statementLimit
        }
    }

    private struct State {
        var waiting = Batch()
        /// Whether there is a connection, or one is being opened.
        var isOpen = false
        /// Whether the connection's thread sleeps because there is no work.
        var isSleeping = false
        var isBusy = false
        var restsUntil: ContinuousClock.Instant?
        var isClosed = false
    }

    private let configuration: Configuration
    private let state = Mutex(State())
    private let wake = DispatchSemaphore(value: 0)

    /// Makes a shared connection, which connects at the first statement.
    public init(_ configuration: Configuration) { self.configuration = configuration }

    /// The number of waiting callers, plus one while a round trip is running.
    public var load: Int { state.withLock { $0.waiting.count + ($0.isBusy ? 1 : 0) } }

    /// Runs statements. Either all statements take effect, or no statement does. The statements may share their transaction with
    /// statements of other callers that have the same check.
    ///
    /// If a shared transaction fails, each caller's statements are repeated in a separate transaction. So use only statements
    /// whose effects a rollback undoes.
    ///
    /// - Parameter check: A statement that runs first, once for all callers that share the transaction. If the check fails, nothing
    ///   is done.
    /// - Returns: The results of `statements`, without the result of the check. Nil when nothing was done and the caller needs a
    ///   separate connection.
    /// - Throws: ``PostgresError`` of the first statement that failed. The statements before the failed one are rolled back, and
    ///   the statements after it do not run.
    public func run(_ statements: [Statement], after check: SharedStatement? = nil) async throws -> [PostgresResult]? {
        try await run(.statements(statements), after: check)
    }

    /// Inserts rows. Either all rows are inserted, or no row is. The rows of callers with the same check are inserted by the same
    /// statements.
    ///
    /// - Returns: As ``run(_:after:)``, but each result has the rows of all callers that were inserted together.
    public func insert(_ rows: [RowInsert], after check: SharedStatement) async throws -> [PostgresResult]? {
        try await run(.rows(rows), after: check)
    }

    private func run(_ content: SharedTransaction.Write.Content, after check: SharedStatement?) async throws -> [PostgresResult]? {
        try await withCheckedThrowingContinuation { continuation in
            let isTaken = enqueue {
                $0.writes.append(.init(content: content, check: check, continuation: continuation))
            }
            if !isTaken { continuation.resume(returning: nil) }
        }
    }

    /// Reads the rows of an id. Lookups of several callers with the same statement are combined into one lookup.
    ///
    /// - Parameters:
    ///   - statement: Takes an array of ids as its first parameter.
    ///   - check: Runs first, once for all callers with the same check. If the check fails, no rows are returned.
    /// - Returns: Rows that include those of this id; nil when nothing could be read. The caller then runs the statement on a
    ///   separate connection, and gets the error there.
    public func lookUp(_ id: UUID, with statement: SharedStatement, after check: SharedStatement) async -> PostgresResult? {
        await withCheckedContinuation { continuation in
            let isTaken = enqueue {
                $0.lookups.append(.init(statement: statement, id: id, check: check, continuation: continuation))
            }
            if !isTaken { continuation.resume(returning: nil) }
        }
    }

    /// Closes the connection. Later callers must use separate connections.
    public func close() {
        state.withLock { $0.isClosed = true }
        wake.signal()
    }

    /// - Returns: Whether the work was queued. If the work was not queued, the caller needs a separate connection.
    private func enqueue(_ add: (inout Batch) -> Void) -> Bool {
        enum Step { case refuse, open, wake, wait }
        let step = state.withLock { state -> Step in
            guard !state.isClosed, state.waiting.count < configuration.queueLimit,
                state.restsUntil.map({ $0 <= .now }) ?? true
            else { return .refuse }
            add(&state.waiting)
            defer { (state.isOpen, state.isSleeping) = (true, false) }
            return !state.isOpen ? .open : state.isSleeping ? .wake : .wait
        }
        switch step {
        case .refuse: return false
        case .open: Task { await open() }
        case .wake: wake.signal()
        case .wait: break
        }
        return true
    }

    private func open() async {
        do {
            let connection = try await PostgresConnection.connect(configuration.conninfo)
            try await connection.execute("SET lock_timeout = '\(configuration.lockLimit)ms'")
            if let limit = configuration.statementLimit { try await connection.limitStatements(to: limit) }
            await connection.serve(self)
        } catch {
            // Waiting callers use separate connections, and get the error there.
            backOff(isConnectionLost: true)
        }
    }

    /// Waits for work, and returns it. The wait blocks the connection's thread, which has nothing else to do.
    ///
    /// - Returns: Nil when the connection was closed.
    fileprivate func next() -> Batch? {
        while true {
            let (batch, isClosed) = state.withLock { state in
                let batch = state.waiting.removeFirst(configuration.batchLimit)
                state.isBusy = batch.count > 0
                state.isSleeping = !state.isBusy
                return (batch, state.isClosed)
            }
            if batch.count > 0 { return batch }
            if isClosed { return nil }
            wake.wait()
        }
    }

    /// Opens another connection if callers wait. If no caller waits, the next caller opens a connection.
    fileprivate func renew() {
        let isWanted = state.withLock { state in
            state.isBusy = false
            state.isOpen = state.waiting.count > 0 && !state.isClosed
            return state.isOpen
        }
        if isWanted { Task { await open() } }
    }

    /// Refuses statements for the time ``Configuration/rest``, so that callers run them on separate connections.
    ///
    /// - Parameter isBroken: Whether the connection can't be used again.
    fileprivate func backOff(isConnectionLost isBroken: Bool) {
        let waiting = state.withLock { state in
            defer { state.waiting = Batch() }
            state.restsUntil = .now + configuration.rest
            if isBroken { (state.isOpen, state.isBusy) = (false, false) }
            return state.waiting
        }
        waiting.refuse()
    }
}

/// The statements of several callers.
private struct Batch {
    struct Lookup {
        let statement: SharedStatement
        let id: UUID
        let check: SharedStatement
        let continuation: CheckedContinuation<PostgresResult?, Never>
    }

    var writes: [SharedTransaction.Write] = []
    var lookups: [Lookup] = []

    var count: Int { writes.count + lookups.count }

    /// Removes all lookups and the first `limit` writes, and returns them.
    mutating func removeFirst(_ limit: Int) -> Batch {
        let batch = Batch(writes: Array(writes.prefix(limit)), lookups: lookups)
        writes.removeFirst(batch.writes.count)
        lookups = []
        return batch
    }

    /// Refuses all waiting statements, so that their callers run them on separate connections.
    func refuse() {
        for write in writes { write.continuation.resume(returning: nil) }
        for lookup in lookups { lookup.continuation.resume(returning: nil) }
    }
}

/// Combines lookups into one transaction: each check once, then each statement once, with the ids of all callers.
private struct MergedLookups {
    private var checks: [SharedStatement] = []
    private var groups: [(statement: SharedStatement, ids: [UUID])] = []

    init(_ lookups: [Batch.Lookup]) {
        for lookup in lookups {
            if !checks.contains(where: { $0 === lookup.check }) { checks.append(lookup.check) }
            if let group = group(of: lookup) {
                groups[group].ids.append(lookup.id)
            } else {
                groups.append((lookup.statement, [lookup.id]))
            }
        }
    }

    var statements: [SharedConnection.Statement] {
        checks.map(\.statement) + groups.map { $0.statement.statement(for: $0.ids) }
    }

    func result(of lookup: Batch.Lookup, among results: [PostgresResult]) -> PostgresResult? {
        group(of: lookup).map { results[checks.count + $0] }
    }

    private func group(of lookup: Batch.Lookup) -> Int? { groups.firstIndex { $0.statement === lookup.statement } }
}

extension PostgresConnection {
    /// Serves waiting callers until the connection breaks or is closed.
    fileprivate func serve(_ callers: SharedConnection) {
        waitForItsTurn()
        while let batch = callers.next() {
            // The server may have closed the idle connection. Without this check, a write would be sent on a closed connection, and
            // no one would know whether it was committed.
            guard batch.writes.isEmpty || isIdle, !isOutdated else {
                callers.backOff(isConnectionLost: true)
                return batch.refuse()
            }
            flush(batch, for: callers)
            if !isUsable { return }
            if isWorn { return callers.renew() }
        }
    }

    /// Whether the connection can carry the next round trip.
    private var isUsable: Bool { isReady && !isOutdated }

    /// Gives this thread the scheduling policy for batch work. Otherwise, under load, this thread would preempt other threads for
    /// each response, and send smaller batches.
    private func waitForItsTurn() {
        var parameters = sched_param(sched_priority: 0)
        // If the system refuses this policy, the connection works, but is slower.
        sched_setscheduler(0, Self.batchPolicy, &parameters)
    }

    /// The value of `SCHED_BATCH` in sched(7), a C macro that Swift does not import.
    private static let batchPolicy: Int32 = 3

    private func flush(_ batch: Batch, for callers: SharedConnection) {
        let lookups = MergedLookups(batch.lookups)
        let transactions = SharedTransaction.merging(batch.writes)
        var sets = transactions.map(\.statements)
        if !batch.lookups.isEmpty { sets.append(lookups.statements) }
        let results = pipelines(sets)
        var answers: [(SharedTransaction, Answer)] = []
        for (transaction, result) in zip(transactions, results) {
            let parts = isUsable ? transaction.separated(after: result) : []
            answers += parts.isEmpty ? [(transaction, result)] : Array(zip(parts, pipelines(parts.map(\.statements))))
        }
        // The pause begins before the callers get their results. Otherwise the callers' next statements would be queued here again.
        if answers.contains(where: { $0.1.metLock }) || results.contains(where: \.metLock) || !isUsable {
            callers.backOff(isConnectionLost: !isUsable)
        }
        for (transaction, answer) in answers { transaction.answer(answer) }
        guard let found = results.last else { return }
        for lookup in batch.lookups {
            lookup.continuation.resume(returning: (try? found.get()).flatMap { lookups.result(of: lookup, among: $0) })
        }
    }
}

/// The results of a transaction's statements, or its first error.
private typealias Answer = Result<[PostgresResult], any Error>

extension Answer {
    /// Whether a statement was cancelled, because it waited too long for a lock.
    fileprivate var metLock: Bool {
        if case .failure(let error as PostgresError) = self { error.state == .lockNotAvailable } else { false }
    }
}
