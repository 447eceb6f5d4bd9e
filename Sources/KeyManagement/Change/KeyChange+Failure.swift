import Model
import PostgresClient
import Tenancy

// The cleanup and the error messages for a key change that failed.
extension KeyChange {
    func forgetProgress() async {
        let (id, rotation) = (organization.id, changeID)
        _ = try? await deployment.pool.withConnection { connection in
            try connection.query(
                "DELETE FROM config.key_change WHERE organization_id = $1 AND rotation_id = $2", [.uuid(id), .uuid(rotation)])
        }
    }

    /// Describes the session that holds a lock on the cells, for an administrator.
    func holder() async -> String {
        let schema = quoteIdentifier(organization.schema)
        return await Self.session(
            """
            FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) JOIN pg_class AS c ON c.oid = l.relation
             WHERE c.oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace"))
               AND c.relname ~ '_cell(_k[0-9]+)?$' AND l.granted
               AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')
               AND coalesce(a.application_name, '') NOT LIKE 'fieldseal key change%'
            """, .text(schema), in: deployment) ?? "some transaction held a lock on the cells"
    }

    /// Describes the session that a connection waits for.
    static func blocker(of backend: Int32, in deployment: Deployment) async -> String {
        await session("FROM pg_stat_activity AS a WHERE a.pid = ANY (pg_blocking_pids($1))", .int32(backend), in: deployment)
            ?? "some transaction held a lock on the cells"
    }

    /// Describes the session with the longest transaction among those that the SQL in `found` selects.
    private static func session(
        _ found: String, _ parameter: PostgresParameter, in deployment: Deployment
    ) async -> String? {
        try? await deployment.pool.withConnection { connection in
            try LockHolder.first(found, parameter, holds: "the cells", on: connection)?.words
        }
    }

    /// The error for a change that waited for `duration` for a lock that another transaction holds.
    static func heldUp(for duration: Duration, by holder: String) -> FieldsealError {
        FieldsealError(
            .encryption,
            "The key was not changed: for \(duration.components.seconds) seconds, \(holder). End that transaction, and try again.")
    }

    /// The error to report for a failure. A change that `pg_cancel_backend` cancelled gets the same error as one that the service
    /// cancelled.
    func explained(_ error: any Error) async -> any Error {
        guard let database = error as? PostgresError, database.state == .queryCanceled else { return error }
        do {
            try reporter.check()
        } catch {
            return error
        }
        let id = organization.id
        let by = try? await deployment.pool.withConnection { connection in
            try connection.query("SELECT cancelled_by FROM config.key_change WHERE organization_id = $1", [.uuid(id)])
                .first?.decodeIfPresent(0, as: String.self)
        }
        return KeyChangeReporter.cancelled(by: by.flatMap { $0 } ?? "an administrator of the database")
    }
}
