import Dispatch
import Foundation
import Synchronization

/// Runs work that takes long and waits for nothing, such as making metadata, beside the event loops, which serve all clients meanwhile.
///
/// Half as many pieces run at a time as there are processors. The others wait in line, and a client waits for each of its own.
enum WorkBeside {
    private static let queues = (0..<max(1, ProcessInfo.processInfo.activeProcessorCount / 2)).map {
        DispatchQueue(label: "fieldseal.beside.\($0)")
    }
    private static let next = Atomic<UInt>(0)

    /// One of the queues, in turn.
    static var queue: DispatchQueue { queues[Int(next.wrappingAdd(1, ordering: .relaxed).newValue % UInt(queues.count))] }

    // Sendable: the body alone made the value, and nothing else refers to it.
    private struct Made<Value>: @unchecked Sendable {
        let value: Value
    }

    /// - Parameter body: Shares nothing of what it returns.
    static func run<Value>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try Task.checkCancellation()
        let made: Made<Value> = try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Result { Made(value: try body()) }) }
        }
        return made.value
    }
}
