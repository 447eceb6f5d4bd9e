import Synchronization

/// Runs one task at a time for each key. Callers that ask for a key while its task runs share the result of that task.
///
/// Cancelling a caller does not end the task, because other callers may wait for it.
package final class SingleFlight<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private struct Flight {
        let task: Task<Value, any Error>
        var waiting: Int
    }

    /// How many callers may wait for one key's task.
    private let waiterLimit: Int
    private let flights = Mutex<[Key: Flight]>([:])

    package init(waiterLimit: Int = .max) { self.waiterLimit = waiterLimit }

    /// The result of the running task for the key, or of a new one.
    ///
    /// - Returns: Nil when the maximum number of callers waits.
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
