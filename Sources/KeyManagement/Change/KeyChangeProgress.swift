import Foundation
import Model
import PostgresClient
import Synchronization
package import Tenancy

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
        return phase == .announcing || phase == .copying ? min(cells * 90 / total, 90) : 95
    }

    /// Cells per second, on average since the start.
    package var rate: Double { seconds > 0 ? Double(cells) / seconds : 0 }

    /// Estimated seconds until the end, at the average rate so far.
    package var secondsLeft: Double? {
        guard let total, rate > 0, cells > 0 else { return nil }
        return max(0, Double(total - cells) / rate)
    }
}

/// Counts the cells of a change. Twice a second it publishes the progress in the database, and reads there whether to stop.
final class KeyChangeReporter: Sendable {
    private struct State {
        var phase = KeyChangeProgress.Phase.announcing
        var total: Int?
        var cancelledBy: String?
    }

    private let administration: KeyAdministration
    private let rotationID: UUID
    private let start = ContinuousClock.now
    private let count = Atomic<Int>(0)
    private let state = Mutex(State())
    private let onProgress: (@Sendable (KeyChangeProgress) -> Void)?

    init(_ administration: KeyAdministration, rotationID: UUID, onProgress: (@Sendable (KeyChangeProgress) -> Void)?) {
        self.administration = administration
        self.rotationID = rotationID
        self.onProgress = onProgress
    }

    /// Adds cells that were encrypted again.
    func add(cells: Int) { count.add(cells, ordering: .relaxed) }

    func enter(_ phase: KeyChangeProgress.Phase) {
        state.withLock { $0.phase = phase }
        onProgress?(progress)
    }

    func expect(_ total: Int?) { state.withLock { $0.total = total } }

    /// - Throws: ``FieldsealError`` when an administrator cancelled the change.
    func check() throws {
        if let by = state.withLock({ $0.cancelledBy }) { throw Self.cancelled(by: by) }
    }

    static func cancelled(by name: String) -> FieldsealError {
        FieldsealError(.encryption, "The key change was cancelled by \(name). The key before it is in force; nothing was changed.")
    }

    private var progress: KeyChangeProgress {
        let (phase, total) = state.withLock { ($0.phase, $0.total) }
        return KeyChangeProgress(
            phase: phase, cells: count.load(ordering: .relaxed), total: total, seconds: (.now - start) / .seconds(1),
            startedBy: administration.caller.actor)
    }

    /// Publishes the progress until the task is cancelled. A failure to publish does not stop the change.
    func run(on connection: PostgresConnection) async {
        let name = administration.organization.name
        while !Task.isCancelled {
            let progress = progress
            onProgress?(progress)
            let title = "fieldseal key change \(name)\(progress.percent.map { " \($0)%" } ?? "")"
            let cancelledBy = try? await connection.run { connection in
                _ = try connection.query("SELECT set_config('application_name', $1, false)", [.text(String(title.prefix(63)))])
                return try connection.query(
                    """
                    UPDATE config.key_change SET phase = $3, cells = $4, total = $5, updated_on = now()
                    WHERE organization_id = $1 AND rotation_id = $2 RETURNING cancelled_by
                    """,
                    [
                        .uuid(self.administration.organization.id), .uuid(self.rotationID), .text(progress.phase.rawValue),
                        .int64(Int64(progress.cells)), .int64(progress.total.map(Int64.init)),
                    ]
                )
                .first?.decodeIfPresent(0, as: String.self)
            }
            if let cancelledBy { state.withLock { $0.cancelledBy = cancelledBy } }
            try? await Task.sleep(for: .milliseconds(500))
        }
    }
}

extension KeyAdministration {
    /// The progress of the running change of the organization's key, in any server; nil when none is running.
    package func keyChangeProgress() async throws -> KeyChangeProgress? {
        return try await deployment.pool.withConnection { connection in
            try connection.query(
                """
                SELECT phase, cells, total, extract(epoch FROM now() - started_on)::float8, started_by
                  FROM config.key_change AS c
                 WHERE organization_id = $1
                   AND EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.pid = c.backend AND a.datname = current_database())
                """, [.uuid(organization.id)]
            )
            .first.map { row in
                KeyChangeProgress(
                    phase: .init(rawValue: try row.decode(0)) ?? .copying, cells: try row.decode(1),
                    total: try row.decodeIfPresent(2), seconds: try row.decode(3), startedBy: try row.decode(4))
            }
        }
    }

    /// Stops the running change. The key before it stays in force.
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
