import Foundation

/// Runs work on a separate thread, and gives its result to a thread that waits.
final class BackgroundTask<Value: Sendable>: @unchecked Sendable {
    // Sendable: the outcome is written before the semaphore is signaled, and read after it.
    private let isDone = DispatchSemaphore(value: 0)
    private var outcome: Result<Value, any Error>?

    /// - Parameter body: The work. The caller must not use the values that `body` captures before ``result()`` returns.
    init(_ body: @escaping () throws -> Value) {
        let body = Lent(value: body)
        let thread = Thread { [self] in
            outcome = Result { try body.value() }
            isDone.signal()
        }
        thread.start()
    }

    // Sendable: the caller does not use the value while the thread has it.
    private struct Lent: @unchecked Sendable {
        let value: () throws -> Value
    }

    /// Waits for the result.
    func result() throws -> Value {
        isDone.wait()
        guard let outcome else { preconditionFailure("signalled before it ended") }
        return try outcome.get()
    }
}
