import Foundation
package import PostgresClient
import Synchronization

/// The rows of `config.sweep`, which name the organizations that servers look at regularly.
///
/// An organization gets its row before something is written there that a server which dies could leave behind. A server remembers that
/// it saw to the row, so this costs one statement in half an hour, and none while the organization sleeps.
package final class SweepMarks: Sendable {
    private let seenTo = Mutex(RecentValues<UUID, ContinuousClock.Instant>(limit: 10_000))

    /// How long a row is kept at least. By the database's clock.
    private static let lifetime = "1 hour"
    /// How long a server relies on a row that it saw to: much less, so that clocks need not agree.
    private static let reliance = Duration.seconds(1_800)

    /// Sees to an organization's row.
    ///
    /// - Throws: ``PostgresError``; never of an unknown outcome, since nothing of the caller's was written.
    package func ensure(_ organization: Organization, in pool: ConnectionPool) async throws {
        let now = ContinuousClock.now
        if let last = seenTo.withLock({ $0.value(of: organization.id) }), now - last < Self.reliance { return }
        do {
            try await pool.withConnection { try Self.mark(organization, on: $0) }
        } catch let error as PostgresError where error.kind == .unknownOutcome {
            throw PostgresError(kind: .connection, message: error.message)
        }
        seenTo.withLock { $0.keep(now, for: organization.id) }
    }

    /// Writes an organization's row, in the open transaction or in one of its own.
    package static func mark(_ organization: Organization, on connection: isolated PostgresConnection) throws {
        _ = try connection.query(
            """
            INSERT INTO config.sweep AS s (organization_id, keep_until) VALUES ($1, now() + interval '\(lifetime)')
            ON CONFLICT (organization_id) DO UPDATE SET keep_until = greatest(s.keep_until, excluded.keep_until)
            """, [.uuid(organization.id)])
    }

    /// Takes organizations whose turn it is, so that no other server looks at them too.
    ///
    /// - Parameters:
    ///   - rest: How long ago the last look has to be.
    ///   - limit: How many to take, at most.
    /// - Returns: Their names; the ones that waited longest.
    package static func claim(restingFor rest: Duration, limit: Int, in pool: ConnectionPool) async throws -> [String] {
        try await pool.withConnection { connection in
            let rows = try connection.query(
                """
                UPDATE config.sweep AS s SET swept_on = clock_timestamp()
                  FROM (SELECT organization_id FROM config.sweep WHERE swept_on <= now() - $1 * interval '1 second'
                         ORDER BY swept_on LIMIT $2 FOR UPDATE SKIP LOCKED) AS due
                  JOIN config.organization AS o USING (organization_id)
                 WHERE s.organization_id = due.organization_id RETURNING o.name
                """, [.double(rest / .seconds(1)), .int64(Int64(limit))])
            return try rows.map { try $0.decode(0) }
        }
    }

    /// Deletes the row of an organization in which nothing is left to do, unless a server may write there still.
    package static func release(_ organization: Organization, in pool: ConnectionPool) async throws {
        try await pool.withConnection { connection in
            _ = try connection.query(
                "DELETE FROM config.sweep WHERE organization_id = $1 AND keep_until < now()", [.uuid(organization.id)])
        }
    }
}
