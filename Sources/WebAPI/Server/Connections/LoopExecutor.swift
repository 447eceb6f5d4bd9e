import NIOCore

/// Runs tasks on one event loop.
///
/// A request that waited for the database continues on the loop that reads and writes its connection. Otherwise its response
/// would change threads once more. Calls between asynchronous functions stay on the loop too. Without a preferred executor,
/// Swift enqueues the task again at each such call.
final class LoopExecutor: TaskExecutor {
    private let loop: any EventLoop

    init(_ loop: any EventLoop) {
        self.loop = loop
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
