import NIOCore

/// The client of a request, which may disconnect.
struct Peer: Sendable {
    /// The connection of HTTP/1.1, or the stream of HTTP/2.
    let channel: any Channel
    /// The executor for work that the client waits for; nil for the connection's event loop.
    var executor: (any TaskExecutor)?

    /// Whether the client has disconnected.
    var isGone: Bool { !channel.isActive }

    /// The same client, for work that runs outside of the event loops.
    var inBackground: Peer {
        var peer = self
        peer.executor = BackgroundExecutor.shared
        return peer
    }

    /// Runs `body`, and cancels it when the client disconnects, because then no client waits for the result.
    func cancellingOnHangUp<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
        let task = Task(executorPreference: executor ?? LoopExecutor(channel.eventLoop)) { try await body() }
        return try await withTaskCancellationHandler {
            let id = try? await channel.eventLoop.submit { [channel] () -> Int? in
                // If the connection no longer has this handler, it is closed already.
                guard let guardian = try? channel.pipeline.syncOperations.handler(type: ConnectionGuard.self) else {
                    task.cancel()
                    return nil
                }
                return guardian.onHangUp { task.cancel() }
            }.get()
            let result = await task.result
            if let id {
                channel.eventLoop.execute { [channel] in
                    try? channel.pipeline.syncOperations.handler(type: ConnectionGuard.self).forget(id)
                }
            }
            return try result.get()
        } onCancel: {
            task.cancel()
        }
    }
}
