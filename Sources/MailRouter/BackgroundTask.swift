import Foundation

/// Work on a thread of its own, whose result is waited for.
final class BackgroundTask<Value: Sendable>: @unchecked Sendable {
    // Sendable: the outcome is written before the semaphore is signalled, and read after.
    private let isDone = DispatchSemaphore(value: 0)
    private var outcome: Result<Value, any Error>?

    /// - Parameter body: What it uses must be left alone until ``result()`` is back.
    init(_ body: @escaping () throws -> Value) {
        let body = Lent(value: body)
        let thread = Thread { [self] in
            outcome = Result { try body.value() }
            isDone.signal()
        }
        thread.start()
    }

    // Sendable: the lender does not touch what it uses.
    private struct Lent: @unchecked Sendable {
        let value: () throws -> Value
    }

    /// Waits for it.
    func result() throws -> Value {
        isDone.wait()
        guard let outcome else { preconditionFailure("signalled before it ended") }
        return try outcome.get()
    }
}
