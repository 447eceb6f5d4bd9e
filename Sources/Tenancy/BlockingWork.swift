import Dispatch

/// Work that blocks its thread, such as reading a file of a slow file system. Swift's own threads are as few as the processors.
package enum BlockingWork {
    /// Runs it on a thread that it may block.
    package static func run<Result: Sendable>(_ work: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async { continuation.resume(with: Swift.Result { try work() }) }
        }
    }
}
