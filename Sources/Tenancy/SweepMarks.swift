import Foundation
package import PostgresClient
import Synchronization

/// The rows of `config.sweep`. The rows name the organizations that servers sweep regularly.
///
/// An organization gets its row before a write that an interrupted server could leave unfinished. A server remembers that it wrote
/// the row, so a row costs one statement in half an hour, and no statement without writes.
package final class SweepMarks: Sendable {
    /// When this server wrote the row of an organization.
    private let markedOn = Mutex(RecentValues<UUID, ContinuousClock.Instant>(limit: 10_000))

    /// How long a row is kept at least, by the database's clock.
    private static let lifetime = "1 hour"
    /// How long a server relies on a row that it wrote. The time is much shorter than ``lifetime``, so that differing clocks do no
    /// harm.
    private static let reliance = Duration.seconds(1_800)

    /// Ensures that an organization has its row.
    ///
    /// - Throws: ``PostgresError``, but never an error with an unknown outcome, because the caller's write has not begun.
    package func ensure(_ organization: Organization, in pool: ConnectionPool) async throws {
        let now = ContinuousClock.now
        if let last = markedOn.withLock({ $0.value(of: organization.id) }), now - last < Self.reliance { return }
        do {
            try await pool.withConnection { try Self.mark(organization, on: $0) }
        } catch let error as PostgresError where error.kind == .unknownOutcome {
            throw PostgresError(kind: .connection, message: error.message)
        }
        markedOn.withLock { $0.keep(now, for: organization.id) }
    }

    /// Writes an organization's row, in the open transaction, or in a new one if none is open.
    package static func mark(_ organization: Organization, on connection: isolated PostgresConnection) throws {
        _ = try connection.query(
            """
            INSERT INTO config.sweep AS s (organization_id, keep_until) VALUES ($1, now() + interval '\(lifetime)')
            ON CONFLICT (organization_id) DO UPDATE SET keep_until = greatest(s.keep_until, excluded.keep_until)
            """, [.uuid(organization.id)])
    }

    /// Reserves the organizations that waited longest, so that no other server sweeps them too.
    ///
    /// - Parameters:
    ///   - rest: How long ago the last sweep must be.
    ///   - limit: How many to reserve at most.
    /// - Returns: The names of the reserved organizations, in any order.
    package static func claim(restingFor rest: Duration, limit: Int, in pool: ConnectionPool) async throws -> [String] {
        try await pool.withConnection { connection in
            let rows = try connection.query(
                """
                WITH due AS MATERIALIZED (
                    SELECT organization_id FROM config.sweep
                     -- A time in the future was written with SQL, so it is ignored.
                     WHERE swept_on <= now() - $1 * interval '1 second' OR swept_on > now() + interval '1 minute'
                     ORDER BY swept_on LIMIT $2 FOR UPDATE SKIP LOCKED)
                UPDATE config.sweep AS s SET swept_on = clock_timestamp()
                  FROM due JOIN config.organization AS o USING (organization_id)
                 WHERE s.organization_id = due.organization_id RETURNING o.name
                """, [.double(rest / .seconds(1)), .int64(Int64(limit))])
            return try rows.map { try $0.decode(0) }
        }
    }

    /// Deletes the row of an organization with nothing left to sweep, if no server can rely on the row any more.
    package static func release(_ organization: Organization, in pool: ConnectionPool) async throws {
        try await pool.withConnection { connection in
            _ = try connection.query(
                "DELETE FROM config.sweep WHERE organization_id = $1 AND keep_until < now()", [.uuid(organization.id)])
        }
    }
}
