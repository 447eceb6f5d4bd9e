import Dispatch

/// Runs work that blocks its thread, such as reading a file of a slow file system. Swift's own thread pool has only one thread for
/// each processor, so its threads must not block.
package enum BlockingWork {
    /// Runs `work` on a thread that may block.
    package static func run<Result: Sendable>(_ work: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async { continuation.resume(with: Swift.Result { try work() }) }
        }
    }
}
