import NIOCore

/// Runs tasks on one event loop.
///
/// A request that waited for the database continues where its connection is read and written; elsewhere, its response would have
/// to change threads once more. Calls between asynchronous functions stay on the loop too: without a preferred executor, Swift
/// enqueues a task again at each of them.
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
