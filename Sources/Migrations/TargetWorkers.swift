import PostgresClient
import Synchronization

/// Runs a function for many targets, several at a time. Each worker reuses its connection while it works.
struct TargetWorkers {
    let conninfo: String
    let parallelism: Int

    /// - Parameter body: Gets a target's status, and a connection on request.
    /// - Returns: The results in the order in which they finished.
    func each<Value: Sendable>(
        _ statuses: [MigrationStatus],
        _ body: @escaping @Sendable (MigrationStatus, () async throws -> PostgresConnection) async -> Value
    ) async -> [Value] {
        let remaining = Remaining(statuses)
        return await withTaskGroup(of: [Value].self) { group in
            for _ in 0..<min(parallelism, statuses.count) {
                group.addTask { await work(remaining, body) }
            }
            return await group.reduce(into: []) { $0 += $1 }
        }
    }

    private func work<Value: Sendable>(
        _ remaining: Remaining, _ body: @Sendable (MigrationStatus, () async throws -> PostgresConnection) async -> Value
    ) async -> [Value] {
        var values: [Value] = []
        var connection: PostgresConnection?
        while let status = remaining.next() {
            let former = connection
            var opened: PostgresConnection?
            let value = await body(status) {
                if let former, await former.isIdle, await !former.isWorn {
                    opened = former
                    return former
                }
                let new = try await PostgresConnection.connect(conninfo)
                opened = new
                return new
            }
            connection = opened ?? former
            values.append(value)
        }
        return values
    }
}

/// The targets that no worker has taken yet.
private final class Remaining: Sendable {
    private let statuses: Mutex<ArraySlice<MigrationStatus>>

    init(_ statuses: [MigrationStatus]) { self.statuses = Mutex(statuses[...]) }

    func next() -> MigrationStatus? { statuses.withLock { $0.popFirst() } }
}
