import NIOCore

/// Runs tasks on one event loop.
///
/// A request that waited for the database goes on where its connection is read and written; elsewhere, its answer would have
/// to change threads once more.
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
