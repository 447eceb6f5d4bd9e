import Foundation
import Model
import PostgresClient
import Synchronization
public import Tenancy

/// How far a key change is.
public struct KeyChangeProgress: Sendable, Equatable {
    /// What a change is busy with.
    public enum Phase: String, Sendable {
        case announcing, copying, indexing
        case catchingUp = "catching up"
        case switching
    }

    public var phase: Phase
    /// Cells that were sealed again.
    public var cells: Int
    /// An estimate of how many there are; nil when PostgreSQL has none.
    public var total: Int?
    /// Seconds since the start.
    public var seconds: Double
    /// Who started it.
    public var startedBy: String

    /// Between 0 and 100, when the total is known.
    public var percent: Int? {
        guard let total, total > 0 else { return nil }
        return phase == .announcing || phase == .copying ? min(cells * 90 / total, 90) : 95
    }

    /// Cells per second, since the start.
    public var rate: Double { seconds > 0 ? Double(cells) / seconds : 0 }

    /// Seconds that the rest will take, at the rate so far.
    public var secondsLeft: Double? {
        guard let total, rate > 0, cells > 0 else { return nil }
        return max(0, Double(total - cells) / rate)
    }
}

/// Counts what a change does, publishes it in the database twice a second, and hears there whether to stop.
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

    /// Cells were sealed again.
    func add(cells: Int) { count.add(cells, ordering: .relaxed) }

    func enter(_ phase: KeyChangeProgress.Phase) {
        state.withLock { $0.phase = phase }
        onProgress?(progress)
    }

    func expect(_ total: Int?) { state.withLock { $0.total = total } }

    /// - Throws: When an administrator asked for the end of the change.
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

    /// Publishes until it is cancelled. That it can't stops no change.
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
    /// The change of the organization's key that is under way, in whichever server; nil when there is none.
    public func keyChangeProgress() async throws -> KeyChangeProgress? {
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

    /// Stops the change that is under way. The key before it stays in force.
    ///
    /// - Returns: False when there is none.
    public func cancelKeyChange() async throws -> Bool {
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
