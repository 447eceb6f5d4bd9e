import NIOCore

/// Follows the writes of one response, and runs actions when all of it was written to the connection. An instance is used only on
/// the connection's event loop.
final class ResponseProgress {
    private var actions: [() -> Void]
    private var pending = 0
    private var isEnded = false

    init(_ actions: [() -> Void]) { self.actions = actions }

    /// Follows the write of a part of the response.
    ///
    /// - Returns: The promise to pass to that write.
    func following(_ promise: EventLoopPromise<Void>?, isLast: Bool, on loop: any EventLoop) -> EventLoopPromise<Void>? {
        guard !actions.isEmpty else { return promise }
        pending += 1
        isEnded = isLast
        let promise = promise ?? loop.makePromise()
        let progress = NIOLoopBound(self, eventLoop: loop)
        promise.futureResult.whenComplete { _ in progress.value.partIsWritten() }
        return promise
    }

    private func partIsWritten() {
        pending -= 1
        if isEnded, pending == 0 { finish() }
    }

    /// Runs the actions, once.
    func finish() {
        let actions = actions
        self.actions = []
        for action in actions { action() }
    }
}
