import Foundation
import Model
import PostgresClient
import Tenancy

/// The progress of a key change.
package struct KeyChangeProgress: Sendable, Equatable {
    /// The current work of a change.
    package enum Phase: String, Sendable {
        case announcing, copying, indexing
        case catchingUp = "catching up"
        case switching
    }

    package var phase: Phase
    /// How many cells were encrypted again.
    package var cells: Int
    /// The estimated number of cells; nil when PostgreSQL has no estimate.
    package var total: Int?
    /// Seconds since the start of the change.
    package var seconds: Double
    /// The actor that started the change.
    package var startedBy: String

    /// Between 0 and 100; nil when the total is unknown.
    package var percent: Int? {
        guard let total, total > 0 else { return nil }
        return phase == .announcing || phase == .copying ? Int(min(Double(cells) / Double(total), 1) * 90) : 95
    }

    /// Cells per second, on average since the start.
    package var rate: Double { seconds > 0 ? Double(cells) / seconds : 0 }

    /// Estimated seconds until the end, at the average rate so far.
    package var secondsLeft: Double? {
        guard let total, rate > 0, cells > 0 else { return nil }
        return max(0, (Double(total) - Double(cells)) / rate)
    }
}

extension KeyAdministration {
    /// The progress of the key change that any server is running for the organization; nil if there is none.
    package func keyChangeProgress() async throws -> KeyChangeProgress? {
        return try await deployment.pool.withConnection { connection in
            try connection.query(
                """
                SELECT phase, cells, total, CASE WHEN isfinite(started_on) THEN extract(epoch FROM now() - started_on)::float8 END, started_by
                  FROM config.key_change AS c
                 WHERE organization_id = $1
                   AND EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.pid = c.backend AND a.datname = current_database())
                """, [.uuid(organization.id)]
            )
            .first.map { row in
                // SQL may have written any values, so negative ones become 0.
                let seconds: Double = try row.decodeIfPresent(3) ?? 0
                return KeyChangeProgress(
                    phase: .init(rawValue: try row.decode(0)) ?? .copying, cells: max(0, try row.decode(1)),
                    total: try row.decodeIfPresent(2), seconds: max(0, seconds), startedBy: try row.decode(4))
            }
        }
    }

    /// Cancels the running key change. The current key stays in force.
    ///
    /// - Returns: False when none is running.
    package func cancelKeyChange() async throws -> Bool {
        let caller = caller
        return try await deployment.pool.withConnection { connection in
            let stopped = try connection.query(
                """
                UPDATE config.key_change AS c SET cancelled_by = $2 WHERE organization_id = $1
                RETURNING (SELECT pg_cancel_backend(a.pid) FROM pg_stat_activity AS a
                            WHERE a.pid = c.backend AND a.backend_start < c.started_on AND a.datname = current_database()
                              AND a.usename = current_user)
                """, [.uuid(organization.id), .text(caller.actor)])
            guard !stopped.isEmpty else { return false }
            try record(SecurityEvent(.keyChangeCancelled, .succeeded), on: connection)
            return true
        }
    }
}
