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
    /// When PostgreSQL rolls the transaction back because of others (``PostgresError/isRetryable``), `body` runs again, a few times
    /// at most. So it must change nothing but the database.
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

    /// Runs `body` in the open transaction, or in a new one.
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

    /// Rolls back the open transaction, if there is one and a connection.
    public func rollBack() {
        guard let handle, PQtransactionStatus(handle) != PQTRANS_IDLE else { return }
        PQclear(PQexec(handle, "ROLLBACK"))
    }

    /// Waits until all that was committed on this server is where the role's commits have to be, such as on a synchronous standby.
    ///
    /// A commit whose connection broke may be visible on a primary before its standby has it, and would be lost in a failover then.
    /// So what a session sees of such a commit counts only after this. It writes a message into the write-ahead log that no program
    /// reads (PostgreSQL, Replication Management Functions), and its own commit waits for all that is before it there.
    ///
    /// - Throws: ``PostgresError``; on a standby too, which may not have replayed the commit, and can't wait for it.
    public func settleCommits() throws {
        _ = try query("SELECT pg_logical_emit_message(true, 'fieldseal', '')")
    }
}
