import Foundation
import PostgresClient

/// Reads attested states that changed, even if no request needs them. So a restored older state is also noticed in an
/// organization without requests.
///
/// The first call of ``poll()`` reads the state of each organization. Each later call reads only the states that transactions
/// wrote since the previous call, so organizations without changes cost nothing.
package struct AttestationWatch: Sendable {
    private let deployment: Deployment
    /// The snapshot of the last call of ``poll()``, as `pg_current_snapshot()` returns it; nil until the first call has ended.
    private var snapshot: String?

    package init(_ deployment: Deployment) { self.deployment = deployment }

    /// How many states one statement reads, in the first call of ``poll()``.
    private static let batch = 1_000

    /// Remembers new states that verify. A state that does not verify is reported by the next request that needs it.
    package mutating func poll() async throws {
        guard let last = snapshot else {
            snapshot = try await readAll()
            return
        }
        snapshot = try await readChanges(since: last)
    }

    /// - Returns: The snapshot from before the first state was read.
    private func readAll() async throws -> String {
        let snapshot: String = try await deployment.pool.withConnection {
            try $0.query("SELECT pg_current_snapshot()::text")[0].decode(0)
        }
        var last: UUID?
        repeat {
            let after = last
            last = try await deployment.pool.withConnection { connection in
                let rows = try connection.query(
                    """
                    SELECT \(AttestedState.columns) FROM config.attested_state AS a
                     WHERE $1 IS NULL OR a.organization_id > $1 ORDER BY a.organization_id LIMIT \(Self.batch)
                    """, [.uuid(after)])
                return try rows.map { try remember(AttestedState($0, at: 0)) }.last
            }
        } while last != nil
        return snapshot
    }

    /// - Returns: The snapshot of this call; nil if transaction numbers are lower than in the previous call, because another
    ///   database replaced this one. Then the next call of ``poll()`` reads the states of all organizations again.
    private func readChanges(since last: String) async throws -> String? {
        try await deployment.pool.withConnection { connection in
            let rows = try connection.query(
                """
                SELECT now.snapshot::text, pg_snapshot_xmax(now.snapshot) >= pg_snapshot_xmax($1::text::pg_snapshot),
                       \(AttestedState.columns)
                  FROM (SELECT pg_current_snapshot()) AS now (snapshot)
                  LEFT JOIN config.attested_state AS a
                    ON a.changed_in >= pg_snapshot_xmin($1::text::pg_snapshot) AND a.changed_in < pg_snapshot_xmax(now.snapshot)
                       AND NOT pg_visible_in_snapshot(a.changed_in, $1::text::pg_snapshot)
                """, [.text(last)])
            for row in rows where !row.isNull(2) { _ = try remember(AttestedState(row, at: 2)) }
            return try rows[0].decode(1, as: Bool.self) ? try rows[0].decode(0, as: String.self) : nil
        }
    }

    private func remember(_ state: AttestedState) throws -> UUID {
        if (try? state.verify(under: deployment.kek)) != nil { deployment.seenStates.remember(state) }
        return state.organizationID
    }
}
