import NIOCore
import Synchronization

/// Counts a request and its response toward the limits, until the response has been written or its connection is gone.
final class RequestHold: Sendable {
    private struct State {
        var share: UnreadResponses.Share?
        var actions: [@Sendable () -> Void] = []
        var isRead = false
    }

    private let state = Mutex(State())

    /// Counts the bytes of the response; nil until the request is counted for a client or a network.
    var share: UnreadResponses.Share? { state.withLock(\.share) }

    /// Whether the request only reads, although its method, such as POST, allows changes. The response to a read can be refused.
    var isRead: Bool {
        get { state.withLock(\.isRead) }
        set { state.withLock { $0.isRead = newValue } }
    }

    /// Counts the request's response for the client or network of `share`.
    ///
    /// - Parameter action: Releases everything else that is counted for the request.
    func begin(_ share: UnreadResponses.Share, releasing action: @escaping @Sendable () -> Void) {
        state.withLock { state in
            state.share = share
            state.actions.append(action)
        }
    }

    /// Releases everything that is counted for the request, after the next response of a connection or stream was written.
    func end(_ share: UnreadResponses.Share, afterResponseOf channel: any Channel) async {
        let actions = state.withLock { state in
            defer { (state.actions, state.share) = ([], nil) }
            return state.actions
        }
        let release: @Sendable () -> Void = {
            share.end()
            for action in actions { action() }
        }
        guard !channel.eventLoop.inEventLoop else { return Self.register(release, channel) }
        do {
            try await channel.eventLoop.submit { Self.register(release, channel) }.get()
        } catch {
            release()
        }
    }

    private static func register(_ release: @escaping @Sendable () -> Void, _ channel: any Channel) {
        // If the connection no longer has this handler, it is closed already.
        guard let guardian = try? channel.pipeline.syncOperations.handler(type: ConnectionGuard.self) else { return release() }
        guardian.onWritten(release)
    }

    deinit {
        state.withLock { state in
            state.share?.end()
            for action in state.actions { action() }
        }
    }
}
