/// Detects a pooler that gives each transaction another server process, such as PgBouncer with `pool_mode = transaction`.
///
/// Prepared statements, session settings, `pg_cancel_backend` and COPY belong to one server process. Behind a pooler in transaction
/// mode, such statements would affect a server process that serves another client by then. A pooler in session mode works.
public enum PoolerCheck {
    /// - Throws: ``PostgresError`` of kind `usage` when two open connections share a server process.
    public static func refuseTransactionPooling(_ conninfo: String) async throws {
        let first = try await PostgresConnection.connect(conninfo, applicationName: "fieldseal pooler check")
        guard await first.isPooled else { return await first.close() }
        let second = try await PostgresConnection.connect(conninfo, applicationName: "fieldseal pooler check")
        // Both connections are idle. A pooler in transaction mode assigns a server process only for a transaction, so both
        // connections used the same process.
        let (one, other) = (await first.backendID, await second.backendID)
        await first.close()
        await second.close()
        guard one == other else { return }
        throw PostgresError(
            kind: .usage,
            message:
                "the database connection goes through a pooler in transaction or statement mode, in which sessions do not keep "
                + "their server process. Set its pool_mode to session, or connect to PostgreSQL itself")
    }
}
