import Dispatch
import HTTPTypes
import Hummingbird

/// Runs a task on the threads of ``BackgroundQueue``, from one suspension point to the next. Reading and processing a large body
/// takes long. Meanwhile the event loops serve all clients.
package final class BackgroundExecutor: TaskExecutor {
    package static let shared = BackgroundExecutor()

    /// A body with more bytes than this is large.
    private static let largeLength = 32 << 10

    /// Whether the body of a request is large or of unknown length.
    static func isNeeded(by request: Request) -> Bool {
        guard ![HTTPRequest.Method.get, .head].contains(request.method) else { return false }
        guard let length = request.headers[.contentLength].flatMap(Int.init) else {
            return request.headers[.transferEncoding] != nil
        }
        return length > largeLength
    }

    /// Runs a job on one of the queues. Each job goes to the next queue.
    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        BackgroundQueue.queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
