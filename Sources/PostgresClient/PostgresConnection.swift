import CLibPQ
import Foundation

/// One connection to PostgreSQL, on a thread of its own.
///
/// Its methods are synchronous inside the actor. Run several in one go with a closure that takes the connection as an
/// isolated parameter: one hop to the connection's thread, and nothing else comes between.
public actor PostgresConnection {
    private nonisolated let thread = ConnectionThread()
    nonisolated let canceller = Canceller()
    private var handle: OpaquePointer?
    private var preparedNames: [String: String] = [:]
    private var preparedCount = 0

    /// Statements that a connection keeps prepared; past it, all are forgotten and prepared anew.
    private static let preparedLimit = 512

    /// Seconds for connecting to one host, unless the connection string says otherwise: libpq alone would wait for ever.
    private static let connectTimeout = "10"

    public nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    private init() {}

    /// Connects.
    ///
    /// - Parameters:
    ///   - conninfo: A libpq connection string or URI, with all that libpq knows (several hosts, TLS, passfiles).
    ///   - applicationName: What `pg_stat_activity` shows, unless `conninfo` says otherwise.
    /// - Throws: ``PostgresError`` of kind `connection`, with libpq's own words. They never quote the password.
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
        // libpq expands `dbname` when it is the first keyword, so that a URI or a string can follow defaults.
        let keywords = ["fallback_application_name", "client_encoding", "connect_timeout", "dbname"]
        let values = [applicationName, "UTF8", Self.connectTimeout, conninfo]
        handle = withCStrings(keywords) { keywords in
            withCStrings(values) { values in PQconnectdbParams(keywords, values, 1) }
        }
        guard PQstatus(handle) == CONNECTION_OK else {
            let error = PostgresError(connection: handle)
            PQfinish(handle)
            handle = nil
            throw error
        }
        PQsetNoticeReceiver(handle, { _, _ in }, nil)
        canceller.arm(handle)
    }

    /// Closes the connection; later calls throw.
    public func close() {
        canceller.disarm()
        PQfinish(handle)
        handle = nil
    }

    /// Runs `body` on the connection's thread. Cancelling the task cancels the statement that is under way.
    public nonisolated func run<Result: Sendable>(
        _ body: @Sendable (isolated PostgresConnection) async throws -> Result
    ) async throws -> Result {
        try await withTaskCancellationHandler {
            try await body(self)
        } onCancel: {
            canceller.cancel()
        }
    }

    /// Runs `body` unless the server has hung up, and tells whether the connection can be used again.
    ///
    /// - Returns: What `body` returned, or nil when it did not run.
    nonisolated func lend<Value: Sendable>(
        _ body: @Sendable (isolated PostgresConnection) async throws -> Value
    ) async -> (Result<Value?, any Error>, isReusable: Bool) {
        let lending = Canceller.Lending()
        defer { lending.end() }
        return await withTaskCancellationHandler {
            await lendIsolated(body)
        } onCancel: {
            canceller.cancel(lending)
        }
    }

    private func lendIsolated<Value: Sendable>(
        _ body: @Sendable (isolated PostgresConnection) async throws -> Value
    ) async -> (Result<Value?, any Error>, isReusable: Bool) {
        guard isIdle else { return (.success(nil), false) }
        do {
            let value = try await body(self)
            return (.success(value), isIdle)
        } catch {
            return (.failure(error), isIdle)
        }
    }

    // MARK: State

    /// Whether no transaction is open and the connection is not known to be broken.
    var isReady: Bool {
        // A pipeline that broke can leave its mode on, in which nothing else runs.
        handle != nil && PQtransactionStatus(handle) == PQTRANS_IDLE && PQpipelineStatus(handle) == PQ_PIPELINE_OFF
            && PQstatus(handle) == CONNECTION_OK
    }

    /// Whether no transaction is open and the server has not hung up. One system call, no round trip.
    public var isIdle: Bool {
        guard isReady else { return false }
        var descriptor = pollfd(fd: PQsocket(handle), events: Int16(POLLIN), revents: 0)
        // Whatever arrives while nobody asked is the server's farewell, or its end.
        return poll(&descriptor, 1, 0) == 0
    }

    /// The server process's id, as in `pg_stat_activity.pid`.
    public var backendID: Int32 { PQbackendPID(handle) }

    /// The connected role's name.
    public var userName: String { PQuser(handle).map { String(cString: $0) } ?? "" }

    // MARK: Statements

    /// Runs one or more statements without parameters, by the simple protocol, and discards their rows.
    public func execute(_ sql: String) throws {
        try Task.checkCancellation()
        _ = try finished(PQexec(try open(), sql))
    }

    /// Runs one statement with binary parameters, prepared at its first use on this connection.
    public func query(_ sql: String, _ parameters: [PostgresParameter] = []) throws -> PostgresResult {
        try Task.checkCancellation()
        let handle = try open()
        let name = try preparedName(sql, parameters) { name, types in
            _ = try finished(PQprepare(handle, name, sql, Int32(types.count), types))
            // PostgreSQL takes no cancellation between two messages: one that came meanwhile would be lost.
            try Task.checkCancellation()
        }
        do {
            return try finished(
                withBinary(parameters) { values, lengths, formats in
                    PQexecPrepared(handle, name, Int32(parameters.count), values, lengths, formats, 1)
                }
            )
        } catch let error as PostgresError where error.isStalePlan {
            preparedNames[sql] = nil
            guard PQtransactionStatus(handle) == PQTRANS_IDLE else { throw error }
            return try query(sql, parameters)
        }
    }

    /// Runs statements in one round trip and one transaction (libpq's pipeline mode): all happen or none does.
    ///
    /// Inside an open transaction they are part of it.
    ///
    /// - Throws: The first statement's error; the others were not run.
    public func pipeline(_ statements: [(sql: String, parameters: [PostgresParameter])]) throws -> [PostgresResult] {
        do {
            return try pipelineOnce(statements)
        } catch let error as PostgresError where error.isStalePlan && isIdle {
            return try pipelineOnce(statements)
        }
    }

    private func pipelineOnce(_ statements: [(sql: String, parameters: [PostgresParameter])]) throws -> [PostgresResult] {
        try Task.checkCancellation()
        return try pipelines([statements])[0].get()
    }

    /// Runs several sets of statements in one round trip, each set in a transaction of its own.
    func pipelines(
        _ sets: [[(sql: String, parameters: [PostgresParameter])]]
    ) -> [Result<[PostgresResult], any Error>] {
        do {
            let handle = try open()
            try forgetPreparedAtLimit()
            guard PQenterPipelineMode(handle) == 1 else { throw PostgresError(connection: handle) }
            defer { PQexitPipelineMode(handle) }
            let sent = try sets.map { try send($0) }
            return zip(sets, sent).map { statements, sent in Result { try results(of: statements, sent) } }
        } catch {
            return sets.map { _ in .failure(error) }
        }
    }

    /// Sends statements and what ends their transaction.
    ///
    /// - Returns: For everything that was sent, whether it was a preparation.
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
                }
            )
        }
        try require(PQpipelineSync(handle))
        return sent
    }

    private func results(
        of statements: [(sql: String, parameters: [PostgresParameter])],
        _ sent: [Bool]
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
                if failure == nil { failure = PostgresError(result: pointer, connection: handle) }
                PQclear(pointer)
            }
            // A null pointer ends each statement's results.
            while let rest = PQgetResult(handle) { PQclear(rest) }
            if PQstatus(handle) == CONNECTION_BAD { break }
        }
        PQclear(PQgetResult(handle))
        if let failure {
            // Which of the preparations happened is not worth finding out.
            for (sql, _) in statements { preparedNames[sql] = nil }
            throw failure
        }
        return results
    }

    // MARK: Transactions

    /// How much of others' work a transaction sees (PostgreSQL, 13.2).
    public enum Isolation: String, Sendable {
        case readCommitted = "READ COMMITTED"
        case repeatableRead = "REPEATABLE READ"
        case serializable = "SERIALIZABLE"
    }

    /// Runs `body` in a transaction: committed when it returns, rolled back when it throws.
    ///
    /// - Throws: What `body` throws; ``PostgresError`` of kind `unknownOutcome` when the connection breaks at COMMIT.
    public func transaction<Result>(isolation: Isolation = .readCommitted, _ body: () throws -> Result) throws -> Result {
        try execute("BEGIN ISOLATION LEVEL \(isolation.rawValue)")
        let result: Result
        do {
            result = try body()
        } catch {
            rollBack()
            throw error
        }
        try commit()
        return result
    }

    /// Runs `body` in the transaction that is open, or in one of its own.
    public func atomically<Result>(_ body: () throws -> Result) throws -> Result {
        PQtransactionStatus(handle) == PQTRANS_IDLE ? try transaction(body) : try body()
    }

    /// Commits the open transaction.
    ///
    /// - Throws: ``PostgresError`` of kind `unknownOutcome` when the answer does not arrive, and of kind `server` when the
    ///   transaction had failed already and COMMIT rolled it back.
    public func commit() throws {
        let handle = try open()
        let failed = PQtransactionStatus(handle) == PQTRANS_INERROR
        do {
            _ = try finished(PQexec(handle, "COMMIT"))
        } catch let error as PostgresError where error.isConnectionLoss {
            throw error.outcomeUnknown()
        }
        if failed { throw PostgresError(kind: .usage, message: "the transaction had failed and was rolled back") }
    }

    /// Rolls back the open transaction, if there is one and a connection.
    public func rollBack() {
        guard let handle, PQtransactionStatus(handle) != PQTRANS_IDLE else { return }
        PQclear(PQexec(handle, "ROLLBACK"))
    }

    // MARK: COPY

    /// Runs a `COPY … TO STDOUT` and lends each row's bytes as they come.
    ///
    /// When `body` throws, the statement is cancelled and the error rethrown; an open transaction has failed then.
    ///
    /// - Returns: The number of rows.
    @discardableResult
    public func copyOut(_ sql: String, _ body: (UnsafeRawBufferPointer) throws -> Void) throws -> Int {
        try Task.checkCancellation()
        let handle = try open()
        try copyStarted(PQexec(handle, sql), PGRES_COPY_OUT)
        var failure: (any Error)?
        var data: UnsafeMutablePointer<CChar>?
        while true {
            let length = PQgetCopyData(handle, &data, 0)
            guard length > 0 else { break }
            defer { PQfreemem(data) }
            if failure != nil { continue }
            do {
                try body(UnsafeRawBufferPointer(start: data, count: Int(length)))
            } catch {
                failure = error
                canceller.cancel()
            }
        }
        let result = Swift.Result { try copyFinished() }
        if let failure { throw failure }
        return try result.get()
    }

    /// Runs a `COPY … FROM STDIN` and sends what `body` writes.
    ///
    /// When `body` throws, the copy is called off and the error rethrown; an open transaction has failed then.
    ///
    /// - Returns: The number of rows that the server took.
    @discardableResult
    public func copyIn(_ sql: String, _ body: (_ write: (UnsafeRawBufferPointer) throws -> Void) throws -> Void) throws -> Int {
        try Task.checkCancellation()
        let handle = try open()
        try copyStarted(PQexec(handle, sql), PGRES_COPY_IN)
        do {
            try body { bytes in
                let data = bytes.bindMemory(to: CChar.self)
                guard data.count > 0 else { return }
                guard PQputCopyData(handle, data.baseAddress, Int32(data.count)) == 1 else {
                    throw PostgresError(connection: handle)
                }
            }
        } catch {
            _ = PQputCopyEnd(handle, "called off by the client")
            _ = try? copyFinished()
            throw error
        }
        guard PQputCopyEnd(handle, nil) == 1 else { throw PostgresError(connection: handle) }
        return try copyFinished()
    }

    private func copyStarted(_ result: OpaquePointer?, _ expected: ExecStatusType) throws {
        defer { PQclear(result) }
        guard PQresultStatus(result) == expected else { throw PostgresError(result: result, connection: handle) }
    }

    private func copyFinished() throws -> Int {
        var rows = 0
        var failure: PostgresError?
        while let result = PQgetResult(handle) {
            if PQresultStatus(result) == PGRES_COMMAND_OK {
                rows = Int(String(cString: PQcmdTuples(result))) ?? 0
            } else if failure == nil {
                failure = PostgresError(result: result, connection: handle)
            }
            PQclear(result)
            if PQstatus(handle) == CONNECTION_BAD { break }
        }
        if let failure { throw failure }
        return rows
    }

    // MARK: Inside

    private func open() throws -> OpaquePointer {
        guard let handle else { throw PostgresError(kind: .connection, message: "the connection is closed") }
        return handle
    }

    private func require(_ sent: Int32) throws {
        guard sent == 1 else { throw PostgresError(kind: .connection, message: PostgresError(connection: handle).message) }
    }

    private func finished(_ result: OpaquePointer?) throws -> PostgresResult {
        switch PQresultStatus(result) {
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK:
            if let result { return PostgresResult(result) }
            throw PostgresError(connection: handle)
        default:
            defer { PQclear(result) }
            throw PostgresError(result: result, connection: handle)
        }
    }

    private func preparedName(
        _ sql: String,
        _ parameters: [PostgresParameter],
        prepare: (String, [Oid]) throws -> Void
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
        // libpq takes a null pointer for NULL, so that an empty value needs an address: the buffer is never empty.
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

private func withCStrings<Result>(_ strings: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> Result) -> Result {
    let copies = strings.map { strdup($0) }
    defer { copies.forEach { free($0) } }
    return body(copies.map { UnsafePointer($0) } + [nil])
}

extension PostgresConnection {
    /// A password as the server stores it (SCRAM-SHA-256, RFC 5803), made on this side: the password itself is in no statement.
    public func verifier(ofPassword password: String, forRole role: String) throws -> String {
        let text = PQencryptPasswordConn(try open(), password, role, "scram-sha-256")
        defer { PQfreemem(text) }
        guard let text else { throw PostgresError(kind: .usage, message: "the password could not be hashed") }
        return String(cString: text)
    }
}
