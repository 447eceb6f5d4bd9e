import Foundation
import Model
import PostgresClient
import Synchronization
import Tenancy

/// Counts the cells of a key change. Twice a second, it writes the progress to the database, and reads there whether the change
/// was cancelled.
final class KeyChangeReporter: Sendable {
    private struct State {
        var phase = KeyChangeProgress.Phase.announcing
        var total: Int?
        var cancelledBy: String?
    }

    private let administration: KeyAdministration
    private let changeID: UUID
    private let start = ContinuousClock.now
    private let count = Atomic<Int>(0)
    private let state = Mutex(State())
    private let onProgress: (@Sendable (KeyChangeProgress) -> Void)?

    init(_ administration: KeyAdministration, changeID: UUID, onProgress: (@Sendable (KeyChangeProgress) -> Void)?) {
        self.administration = administration
        self.changeID = changeID
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
        FieldsealError(
            .encryption, "The key change was cancelled by \(name). The previous key stays in force; nothing was changed.")
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
                        .uuid(self.administration.organization.id), .uuid(self.changeID), .text(progress.phase.rawValue),
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
