import Synchronization

/// Runs one task for each key at a time, whose result all that asked meanwhile share.
///
/// A caller that is cancelled does not end the task: others may wait for it.
package final class SingleFlight<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private struct Flight {
        let task: Task<Value, any Error>
        var waiting: Int
    }

    /// Callers that may wait for one key's task.
    private let waiterLimit: Int
    private let flights = Mutex<[Key: Flight]>([:])

    package init(waiterLimit: Int = .max) { self.waiterLimit = waiterLimit }

    /// The result of the task that runs for the key, or of a new one.
    ///
    /// - Returns: Nil when as many wait as may.
    package func value(of key: Key, _ body: @escaping @Sendable () async throws -> Value) async throws -> Value? {
        let task = flights.withLock { known -> Task<Value, any Error>? in
            if let flight = known[key] {
                guard flight.waiting < waiterLimit else { return nil }
                known[key]?.waiting += 1
                return flight.task
            }
            let task = Task {
                defer { flights.withLock { $0[key] = nil } }
                return try await body()
            }
            known[key] = Flight(task: task, waiting: 1)
            return task
        }
        return try await task?.value
    }
}
