import CLibPQ
import Foundation

/// One connection to PostgreSQL, on its own thread.
///
/// The methods of the connection are synchronous inside the actor. To run several methods without another caller in between, pass a
/// closure with the connection as an isolated parameter to ``run(_:)``. The whole closure then runs on the connection's thread.
public actor PostgresConnection {
    private nonisolated let thread = ConnectionThread()
    nonisolated let canceller = Canceller()
    var handle: OpaquePointer?
    /// The process id of the backend, as `pg_backend_pid()` returns it. Behind a pooler, the process id in the protocol is a
    /// different one.
    private var backend: Int32 = 0
    /// The time at which the session was found to be read-only; nil while it can write.
    private var readOnlySince: ContinuousClock.Instant?
    /// The servers of the connection string, if it names several, and the timeline of the connected server.
    private(set) var servers: KnownServers?
    private(set) var timeline: UInt32?
    private var preparedNames: [String: String] = [:]
    private var preparedCount = 0

    /// The maximum number of prepared statements. At this number, all statements are discarded, and prepared again when they are
    /// used.
    private static let preparedLimit = 512
    /// After preparing this many statements, a connection is replaced (``isWorn``), because its backend caches catalog data for
    /// each table and grows.
    private static let preparedInLife = 16 * preparedLimit

    public nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    init() {}

    /// Connects, and applies ``SessionSettings``.
    ///
    /// - Parameters:
    ///   - conninfo: A libpq connection string or URI with any of its parameters (several hosts, TLS, passfiles). Among several
    ///     hosts, a host that accepts writes is preferred, except if the string has `target_session_attrs`.
    ///   - applicationName: The name in `pg_stat_activity`, unless `conninfo` has one.
    /// - Throws: ``PostgresError`` of kind `connection`, with libpq's message. The message never quotes the password.
    public static func connect(_ conninfo: String, applicationName: String = "fieldseal") async throws -> PostgresConnection {
        let connection = PostgresConnection()
        try await connection.open(conninfo, applicationName: applicationName)
        return connection
    }

    isolated deinit {
        canceller.disarm()
        PQfinish(handle)
        thread.stop()
    }

    private func open(_ conninfo: String, applicationName: String) throws {
        if let servers = KnownServers.of(conninfo) {
            return try open(conninfo, among: servers, applicationName: applicationName)
        }
        for parameters in ConnectionParameters.attempts(conninfo, applicationName: applicationName) {
            PQfinish(handle)
            handle = parameters.connect()
            if PQstatus(handle) == CONNECTION_OK { break }
        }
        do {
            take(try begin())
            // The connection string requests a standby, so a read-only session needs no replacement.
            if ConnectionParameters.requestsStandby(conninfo) { readOnlySince = nil }
        } catch {
            PQfinish(handle)
            handle = nil
            throw error
        }
    }

    /// Applies the session's settings.
    ///
    /// - Throws: ``PostgresError`` when there is no connection, or the session can't be used.
    func begin() throws -> SessionSettings.Report {
        guard PQstatus(handle) == CONNECTION_OK else { throw PostgresError(connection: handle) }
        PQsetNoticeReceiver(handle, { _, _ in }, nil)
        let result = PQexec(handle, SessionSettings.statement)
        defer { PQclear(result) }
        guard PQresultStatus(result) == PGRES_TUPLES_OK else { throw PostgresError(result: result, connection: handle) }
        return try SessionSettings.report(result)
    }

    /// Stores the session's report, the known servers and the server's timeline for the connection that was just opened.
    func take(_ report: SessionSettings.Report, _ servers: KnownServers? = nil, _ timeline: UInt32? = nil) {
        backend = report.backend
        readOnlySince = report.isReadOnly ? .now : nil
        canceller.arm(handle)
        (self.servers, self.timeline) = (servers, timeline)
        if let servers, let timeline { servers.register(canceller, timeline) }
    }

    /// Closes the connection. Later calls throw.
    public func close() {
        canceller.disarm()
        PQfinish(handle)
        handle = nil
    }

    /// Runs `body` on the connection's thread. Cancelling the task cancels the running statement.
    public nonisolated func run<Result: Sendable>(
        _ body: @Sendable (isolated PostgresConnection) async throws -> Result
    ) async throws -> Result {
        let turn = canceller.turn
        return try await withTaskCancellationHandler {
            try await body(self)
        } onCancel: {
            canceller.cancel(turn)
        }
    }

    /// Runs `body` unless the server closed the connection. Reports whether the connection can be used again.
    ///
    /// - Returns: The result of `body`; nil when it did not run.
    nonisolated func lend<Value: Sendable>(
        _ body: @Sendable (isolated PostgresConnection) async throws -> Value
    ) async -> (Result<Value?, any Error>, isReusable: Bool) {
        let turn = canceller.turn
        return await withTaskCancellationHandler {
            await lendIsolated(body)
        } onCancel: {
            canceller.cancelUntilItEnds(turn)
        }
    }

    private func lendIsolated<Value: Sendable>(
        _ body: @Sendable (isolated PostgresConnection) async throws -> Value
    ) async -> (Result<Value?, any Error>, isReusable: Bool) {
        guard isIdle, !isOutdated else { return (.success(nil), false) }
        let result: Result<Value?, any Error>
        do {
            result = .success(try await body(self))
        } catch {
            result = .failure(error)
        }
        // A cancel request may arrive late, and must not cancel the next borrower's statement.
        let wasCancelled = canceller.endTurn()
        return (result, isIdle && !wasCancelled && !isOutdated && !isWorn)
    }

    // MARK: State

    /// Whether no transaction is open, and the connection is not known to be broken. The check needs no system call.
    var isReady: Bool {
        // A broken pipeline can leave the connection in pipeline mode, in which nothing else can run.
        handle != nil && PQtransactionStatus(handle) == PQTRANS_IDLE && PQpipelineStatus(handle) == PQ_PIPELINE_OFF
            && PQstatus(handle) == CONNECTION_OK
    }

    /// Whether no transaction is open and the server did not close the connection. The check needs one system call and no round
    /// trip.
    public var isIdle: Bool {
        guard isReady else { return false }
        var descriptor = pollfd(fd: PQsocket(handle), events: Int16(POLLIN), revents: 0)
        // Unrequested data means that the server is closing the connection, or has closed it.
        return poll(&descriptor, 1, 0) == 0
    }

    /// How long a read-only session is kept. The connection that replaces it may reach a server that accepts writes.
    private static let readOnlyLifetime = Duration.seconds(2)

    /// Whether to replace the connection, because its server was replaced as primary, or the session has been read-only for too
    /// long.
    var isOutdated: Bool { isOnFormerPrimary || (readOnlySince.map { .now - $0 > Self.readOnlyLifetime } ?? false) }

    /// Whether to replace the connection, because its backend has prepared many statements and so uses much memory.
    public var isWorn: Bool { preparedCount >= Self.preparedInLife }

    /// Whether the session was read-only when it was opened, or a statement found that it is.
    public var isReadOnly: Bool { readOnlySince != nil }

    /// The server process's id, as in `pg_stat_activity.pid`.
    public var backendID: Int32 { backend }

    /// Whether there is a pooler: the process in the protocol differs from the one that runs the statements.
    public var isPooled: Bool { handle != nil && PQbackendPID(handle) != backend }

    /// The connected role's name.
    public var userName: String { PQuser(handle).map { String(cString: $0) } ?? "" }

    // MARK: Statements

    /// Runs one or more statements without parameters, by the simple protocol, and discards their rows.
    public func execute(_ sql: String) throws {
        try Task.checkCancellation()
        let isOwnTransaction = PQtransactionStatus(handle) == PQTRANS_IDLE
        do {
            _ = try finished(PQexec(try open(), sql))
        } catch let error as PostgresError where isOwnTransaction && handle != nil {
            throw error.afterSending([sql], to: backend)
        }
    }

    /// Runs one statement with binary parameters. The statement is prepared at its first use on this connection.
    ///
    /// Outside of a transaction the statement is its own transaction. That transaction is retried a few times if PostgreSQL rolled
    /// it back because of concurrent transactions (``PostgresError/isRetryable``).
    ///
    /// - Throws: ``PostgresError`` of kind `unknownOutcome` when the connection breaks during a statement that writes, outside of a
    ///   transaction.
    public func query(_ sql: String, _ parameters: [PostgresParameter] = []) throws -> PostgresResult {
        try retrying { try queryOnce(sql, parameters) }
    }

    private func queryOnce(_ sql: String, _ parameters: [PostgresParameter]) throws -> PostgresResult {
        try Task.checkCancellation()
        let handle = try open()
        let name = try preparedName(sql, parameters) { name, types in
            _ = try finished(PQprepare(handle, name, sql, Int32(types.count), types))
            // PostgreSQL ignores a cancel request that arrives between two messages. So the cancellation is checked here too.
            try Task.checkCancellation()
        }
        let isOwnTransaction = PQtransactionStatus(handle) == PQTRANS_IDLE
        do {
            return try finished(
                withBinary(parameters) { values, lengths, formats in
                    PQexecPrepared(handle, name, Int32(parameters.count), values, lengths, formats, 1)
                })
        } catch let error as PostgresError {
            if error.isStalePlan { preparedNames[sql] = nil }
            throw isOwnTransaction ? error.afterSending([sql], to: backend) : error
        }
    }

    /// Runs statements in one round trip and one transaction (libpq's pipeline mode). Either all statements take effect, or no
    /// statement does.
    ///
    /// Within an open transaction the statements are part of it. Outside of a transaction the statements are retried as in
    /// ``query(_:_:)``.
    ///
    /// - Throws: The error of the first statement that failed. The statements after the failed one did not run. ``PostgresError``
    ///   of kind `unknownOutcome` as in ``query(_:_:)``.
    public func pipeline(_ statements: [(sql: String, parameters: [PostgresParameter])]) throws -> [PostgresResult] {
        try retrying {
            try Task.checkCancellation()
            return try pipelines([statements])[0].get()
        }
    }

    /// Runs several sets of statements in one round trip. Each set is its own transaction.
    func pipelines(_ sets: [[(sql: String, parameters: [PostgresParameter])]]) -> [Result<[PostgresResult], any Error>] {
        let isOwnTransaction = PQtransactionStatus(handle) == PQTRANS_IDLE
        func explained(_ error: any Error, _ statements: [(sql: String, parameters: [PostgresParameter])]) -> any Error {
            guard isOwnTransaction, let error = error as? PostgresError else { return error }
            return error.afterSending(statements.map(\.sql), to: backend)
        }
        var isSending = false
        do {
            let handle = try open()
            try forgetPreparedAtLimit()
            guard PQenterPipelineMode(handle) == 1 else { throw PostgresError(connection: handle) }
            defer { PQexitPipelineMode(handle) }
            isSending = true
            let sent = try sets.map { try send($0) }
            return zip(sets, sent).map { statements, sent in
                Result { try results(of: statements, sent) }.mapError { explained($0, statements) }
            }
        } catch {
            return sets.map { .failure(isSending ? explained(error, $0) : error) }
        }
    }

    /// Sends statements, then the synchronization point that ends their transaction.
    ///
    /// - Returns: One entry for each message that was sent: true if it prepares a statement, false if it runs one.
    private func send(_ statements: [(sql: String, parameters: [PostgresParameter])]) throws -> [Bool] {
        let handle = try open()
        var sent: [Bool] = []
        for (sql, parameters) in statements {
            let name = try preparedName(sql, parameters) { name, types in
                sent.append(true)
                try require(PQsendPrepare(handle, name, sql, Int32(types.count), types))
            }
            sent.append(false)
            try require(
                withBinary(parameters) { values, lengths, formats in
                    PQsendQueryPrepared(handle, name, Int32(parameters.count), values, lengths, formats, 1)
                })
        }
        try require(PQpipelineSync(handle))
        return sent
    }

    private func results(
        of statements: [(sql: String, parameters: [PostgresParameter])], _ sent: [Bool]
    ) throws -> [PostgresResult] {
        let handle = try open()
        var results: [PostgresResult] = []
        var failure: PostgresError?
        for isPreparation in sent {
            let pointer = PQgetResult(handle)
            switch PQresultStatus(pointer) {
            case PGRES_COMMAND_OK, PGRES_TUPLES_OK:
                if let pointer, !isPreparation { results.append(PostgresResult(pointer)) } else { PQclear(pointer) }
            default:
                if failure == nil { failure = error(of: pointer) }
                PQclear(pointer)
            }
            // A null pointer ends each statement's results.
            while let rest = PQgetResult(handle) { PQclear(rest) }
            if PQstatus(handle) == CONNECTION_BAD { break }
        }
        if let late = endOfTransaction(), failure == nil { failure = late }
        if let failure {
            // It is unknown which preparations succeeded, so all statements are prepared again.
            for (sql, _) in statements { preparedNames[sql] = nil }
            throw failure
        }
        return results
    }

    /// Reads the rest of a pipeline after the statements' results: the outcome of the transaction's commit, which may fail.
    ///
    /// - Returns: The error if the transaction was not committed, or may not have been.
    private func endOfTransaction() -> PostgresError? {
        var failure: PostgresError?
        var ends = 0
        while ends < 2 {
            let pointer = PQgetResult(handle)
            defer { PQclear(pointer) }
            guard pointer != nil else {
                ends += 1
                if PQstatus(handle) == CONNECTION_BAD { break }
                continue
            }
            ends = 0
            if PQresultStatus(pointer) == PGRES_PIPELINE_SYNC { return failure }
            if failure == nil { failure = error(of: pointer) }
        }
        return failure ?? PostgresError(kind: .connection, message: "the connection ended before the end of the transaction")
    }

    // MARK: Implementation

    func open() throws -> OpaquePointer {
        guard let handle else { throw PostgresError(kind: .connection, message: "the connection is closed") }
        return handle
    }

    private func require(_ sent: Int32) throws {
        guard sent == 1 else { throw PostgresError(kind: .connection, message: PostgresError(connection: handle).message) }
    }

    func finished(_ result: OpaquePointer?) throws -> PostgresResult {
        switch PQresultStatus(result) {
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK:
            if let result { return PostgresResult(result) }
            throw PostgresError(connection: handle)
        default:
            defer { PQclear(result) }
            throw error(of: result)
        }
    }

    /// The error of a result. If the error shows that the session has become read-only, the connection records that.
    func error(of result: OpaquePointer?) -> PostgresError {
        let error = PostgresError(result: result, connection: handle)
        // The time is in the past, so that the pool closes the connection at once. The next connection then goes to a server that
        // accepts writes.
        if error.isReadOnly { readOnlySince = ContinuousClock.now - Self.readOnlyLifetime * 2 }
        return error
    }

    private func preparedName(
        _ sql: String, _ parameters: [PostgresParameter], prepare: (String, [Oid]) throws -> Void
    ) throws -> String {
        if let name = preparedNames[sql] { return name }
        if PQpipelineStatus(handle) == PQ_PIPELINE_OFF { try forgetPreparedAtLimit() }
        preparedCount += 1
        let name = "s\(preparedCount)"
        try prepare(name, parameters.map(\.type.rawValue))
        preparedNames[sql] = name
        return name
    }

    private func forgetPreparedAtLimit() throws {
        guard preparedNames.count >= Self.preparedLimit else { return }
        preparedNames.removeAll()
        _ = try finished(PQexec(handle, "DEALLOCATE ALL"))
    }

    private func withBinary<Result>(
        _ parameters: [PostgresParameter],
        _ body: (UnsafePointer<UnsafePointer<CChar>?>, UnsafePointer<Int32>, UnsafePointer<Int32>) -> Result
    ) -> Result {
        let lengths = parameters.map { Int32($0.bytes?.count ?? 0) }
        let formats = [Int32](repeating: 1, count: parameters.count)
        var offsets: [Int?] = []
        // libpq treats a null pointer as NULL. So the buffer is never empty, and an empty value has an address.
        var buffer: [UInt8] = [0]
        for parameter in parameters {
            offsets.append(parameter.bytes == nil ? nil : buffer.count)
            buffer.append(contentsOf: parameter.bytes ?? [])
        }
        buffer.append(0)
        return buffer.withUnsafeBytes { bytes in
            let values = offsets.map { offset in
                offset.flatMap { bytes.baseAddress?.advanced(by: $0).assumingMemoryBound(to: CChar.self) }
            }
            return body(values, lengths, formats)
        }
    }
}
