import Dispatch
import HTTPTypes
import Hummingbird

/// Runs a task beside the event loops, piece by piece between its waits: reading a large body and working on what it asks for takes
/// long, and the loops serve all clients meanwhile.
final class BesideExecutor: TaskExecutor {
    static let shared = BesideExecutor()

    /// Bytes from which a body is large.
    private static let largeLength = 32 << 10

    /// Whether the body of a request is large, or its length is not said.
    static func isNeeded(by request: Request) -> Bool {
        guard ![HTTPRequest.Method.get, .head].contains(request.method) else { return false }
        guard let length = request.headers[.contentLength].flatMap(Int.init) else {
            return request.headers[.transferEncoding] != nil
        }
        return length > largeLength
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        WorkBeside.queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
