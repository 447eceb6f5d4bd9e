package import Foundation
package import PostgresClient
import Synchronization

/// A cache of the states that sessions of API clients read, for reuse by later sessions of the same client.
///
/// A cached state is not trusted. A session that reuses it sends a check with its own statements, in the same transaction and
/// round trip.
final class SessionCache: Sendable {
    private struct Name: Hashable {
        let organization: String
        let client: UUID
    }

    /// The data that a session read, and the statement that fails when the data is stale.
    struct Entry {
        let kept: KeptState
        let check: SharedStatement
    }

    private let entries = Mutex(RecentValues<Name, Entry>(limit: 1_000))

    func entry(of client: UUID, in organization: String) -> Entry? {
        entries.withLock { $0.value(of: Name(organization: organization, client: client)) }
    }

    /// Stores the state that a session read. Call this method only for an organization whose key this server has.
    ///
    /// A state without a key is not kept. With such a state, a password would be refused before any statement runs, so no check
    /// could notice that the key was set meanwhile.
    func keep(_ kept: KeptState, of client: UUID) {
        let state = kept.state
        guard let row = state.client else { return }
        let entry = Entry(kept: kept, check: Self.check(state, client, row))
        entries.withLock { $0.keep(entry, for: Name(organization: state.organization.name, client: client)) }
    }

    func forget(_ client: UUID, in organization: String) {
        entries.withLock { $0.forget(Name(organization: organization, client: client)) }
    }

    private static func check(
        _ state: OrganizationState,
        _ client: UUID,
        _ row: OrganizationState.ClientRow
    ) -> SharedStatement {
        // The tag covers the whole attested state: the key in force, the list with the client and its systemuser, and the newest
        // event. SQL can restore a row with an earlier tag, but can't make a tag that covers the newest event. So the check
        // compares the row's tag, and the columns that the tag covers, with the verified state, and computes no tag. If they
        // differ, the session begins again, which verifies the row and reports the reason.
        let attested = state.attested
        return SharedStatement(
            """
            SELECT CASE WHEN EXISTS (
                SELECT FROM config.attested_state AS a JOIN config.organization AS o USING (organization_id)
                  JOIN \(state.organization.qualified("encryption")) AS e
                    ON (e.organization_id, e.key_version, e.fingerprint) = (a.organization_id, a.key_version, a.fingerprint)
                  JOIN config.organization_key AS k
                    ON (k.organization_id, k.key_version, k.fingerprint) = (a.organization_id, a.key_version, a.fingerprint)
                  JOIN config.api_client AS c ON c.client_id = $1 AND c.organization_id = a.organization_id
                  LEFT JOIN \(state.organization.qualified("systemuser")) AS u ON u.systemuserid = $2
                 WHERE a.organization_id = $3 AND (a.tag, a.revision, a.grants_digest, a.key_version, a.fingerprint, a.newest_event)
                       = ($9, $4, $5, $10, $11, $12) AND $12 = (SELECT max(security_event_id) FROM \(state.organization.qualified("security_event")))
                   AND o.name = $6 AND o.schema_version = $7 AND k.wrapped_data IS NOT NULL
                   AND c.tag = $8 AND c.disabled_on IS NULL AND u.isdisabled IS NOT TRUE)
            THEN NULL ELSE config.refuse_session() END
            """,
            [
                .uuid(client), .uuid(row.systemUserID), .uuid(state.organization.id), .int64(attested.map { Int64($0.revision) }),
                .bytes(attested?.grantsDigest), .text(state.organization.name), .text(OrganizationState.schemaVersion),
                .bytes(row.tag), .bytes(attested?.tag), .int32(attested.map { Int32($0.keyVersion) }), .text(attested?.fingerprint),
                .int64(attested.map { Int64($0.newestEvent) }),
            ])
    }
}

extension Session {
    /// Runs statements in one round trip and one transaction, after checking that the reused state is current.
    ///
    /// - Throws: ``StaleSession`` when the reused state is stale. Then nothing was done.
    package func run(
        _ statements: [(sql: String, parameters: [PostgresParameter])],
        on connection: isolated PostgresConnection
    ) throws -> [PostgresResult] {
        if caller.impersonation != nil { return Array(try connection.pipeline([callerSettings] + statements).dropFirst()) }
        guard let check else {
            return statements.count == 1
                ? [try connection.query(statements[0].sql, statements[0].parameters)] : try connection.pipeline(statements)
        }
        return try confirmed { Array(try connection.pipeline([check.statement] + statements).dropFirst()) }
    }

    /// Looks a record up together with the lookups of other callers.
    ///
    /// - Returns: Rows that include the record, if it exists; nil when the caller needs a separate connection.
    package func lookUp(_ id: UUID, with statement: SharedStatement) async -> PostgresResult? {
        guard let check, let connection = deployment.readers.min(by: { $0.load < $1.load }) else { return nil }
        return await connection.lookUp(id, with: statement, after: check)
    }

    /// Runs statements as ``run(_:on:)`` does, but on a shared connection. Use this method only for statements that take
    /// microseconds.
    ///
    /// - Returns: Nil when nothing was done and the caller needs a separate connection.
    package func runShared(_ statements: [(sql: String, parameters: [PostgresParameter])]) async throws -> [PostgresResult]? {
        try await onWriter { try await $0.run(statements, after: $1) }
    }

    /// Inserts rows on a shared connection, maybe together with rows of other callers. Each result has the rows of all of these
    /// callers.
    ///
    /// - Returns: Nil when nothing was done and the caller needs a separate connection.
    package func insertShared(_ rows: [RowInsert]) async throws -> [PostgresResult]? {
        try await onWriter { try await $0.insert(rows, after: $1) }
    }

    private func onWriter(_ run: (SharedConnection, SharedStatement) async throws -> [PostgresResult]?) async throws
        -> [PostgresResult]?
    {
        guard let check, let connection = deployment.writers.min(by: { $0.load < $1.load }) else { return nil }
        do {
            return try await run(connection, check)
        } catch {
            return try confirmed { throw error }
        }
    }

    private func confirmed(_ run: () throws -> [PostgresResult]) throws -> [PostgresResult] {
        do {
            return try run()
        } catch let error as PostgresError where [.staleSession, .undefinedTable, .undefinedSchema].contains(error.state) {
            if let client = caller.clientID { deployment.sessions.forget(client, in: organization.name) }
            throw StaleSession()
        }
    }

    /// Checks the reused state in a separate statement. Needed before statements that are not sent by ``run(_:on:)``.
    package func confirm(on connection: isolated PostgresConnection) throws {
        if check != nil { _ = try run([], on: connection) }
    }
}
