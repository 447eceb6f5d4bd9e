extension PostgresConnection {
    /// Sets a time limit for every statement of this connection. Long operations call ``liftStatementLimit()`` first.
    func limitStatements(to limit: Duration) throws {
        try execute("SET statement_timeout = '\(Int(limit / .milliseconds(1)))ms'")
    }

    /// Sets how long each statement of this connection waits for a lock at most.
    public func limitLocks(to limit: Duration) throws {
        try execute("SET lock_timeout = '\(Int(limit / .milliseconds(1)))ms'")
    }

    /// Removes the time limit of statements until the open transaction ends.
    public func liftStatementLimit() throws {
        try execute("SET LOCAL statement_timeout = 0")
    }
}
