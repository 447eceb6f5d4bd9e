import Dispatch
import Foundation
import Synchronization

/// Runs work that takes long and never suspends, such as making metadata, on separate threads. Meanwhile the event loops serve
/// all clients.
///
/// At most half as many closures run at a time as there are processors. Further closures wait in a queue, and the client of each
/// waits for the result.
enum BackgroundQueue {
    private static let queues = (0..<max(1, ProcessInfo.processInfo.activeProcessorCount / 2)).map {
        DispatchQueue(label: "fieldseal.background.\($0)")
    }
    private static let next = Atomic<UInt>(0)

    /// One of the queues. Each read of this property returns the next queue.
    static var queue: DispatchQueue { queues[Int(next.wrappingAdd(1, ordering: .relaxed).newValue % UInt(queues.count))] }

    // Sendable: only `body` made the value, and no other code refers to it.
    private struct Made<Value>: @unchecked Sendable {
        let value: Value
    }

    /// - Parameter body: The work. The closure must keep no reference to its result.
    static func run<Value>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try Task.checkCancellation()
        let made: Made<Value> = try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Result { Made(value: try body()) }) }
        }
        return made.value
    }
}
