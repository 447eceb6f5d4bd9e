import CLibPQ

// Transactions.
extension PostgresConnection {
    /// The isolation level of a transaction (PostgreSQL, 13.2).
    public enum Isolation: String, Sendable {
        case readCommitted = "READ COMMITTED"
        case repeatableRead = "REPEATABLE READ"
        case serializable = "SERIALIZABLE"
    }

    /// Runs `body` in a transaction, which is committed when it returns, and rolled back when it throws.
    ///
    /// If PostgreSQL rolls the transaction back because of concurrent transactions (``PostgresError/isRetryable``), `body` runs
    /// again, up to a limit. So `body` may change only the database.
    ///
    /// - Throws: The errors of `body`; ``PostgresError`` of kind `unknownOutcome` when the connection breaks at COMMIT.
    public func transaction<Result>(isolation: Isolation = .readCommitted, _ body: () throws -> Result) throws -> Result {
        try retrying {
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
    }

    /// Runs `body` in the open transaction, or in a new one if none is open.
    public func atomically<Result>(_ body: () throws -> Result) throws -> Result {
        PQtransactionStatus(handle) == PQTRANS_IDLE ? try transaction(body) : try body()
    }

    /// Commits the open transaction.
    ///
    /// - Throws: ``PostgresError`` of kind `unknownOutcome` when the response does not arrive, and of kind `server` when the
    ///   transaction had failed already and COMMIT rolled it back.
    public func commit() throws {
        let handle = try open()
        let failed = PQtransactionStatus(handle) == PQTRANS_INERROR
        do {
            _ = try finished(PQexec(handle, "COMMIT"))
        } catch let error as PostgresError where error.isConnectionLoss {
            throw error.outcomeUnknown(backendID)
        }
        if failed { throw PostgresError(kind: .usage, message: "the transaction had failed and was rolled back") }
    }

    /// Rolls back the open transaction. Does nothing if there is no transaction or no connection.
    public func rollBack() {
        guard let handle, PQtransactionStatus(handle) != PQTRANS_IDLE else { return }
        PQclear(PQexec(handle, "ROLLBACK"))
    }

    /// Waits until everything that was committed on this server is as durable as `synchronous_commit` requires, for example on a
    /// synchronous standby.
    ///
    /// If a connection broke during COMMIT, the commit may be visible on the primary before its standby has it. A failover would
    /// then lose the commit. So call this function before relying on a commit whose connection broke. It writes a logical message,
    /// which no program reads, into the write-ahead log. Committing this message waits for all earlier records.
    ///
    /// - Throws: ``PostgresError``. A standby always causes this error, because it may not have replayed the commit, and can't wait
    ///   for it.
    public func settleCommits() throws {
        _ = try query("SELECT pg_logical_emit_message(true, 'fieldseal', '')")
    }
}
