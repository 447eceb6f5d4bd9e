import NIOCore
import NIOTLS

/// The deadlines of one connection: for its TLS handshake, and for having no request. It stands before all other handlers, and
/// counts no bytes: what trickles in, and frames of HTTP/2 that are no requests, keep no connection open.
final class ConnectionWatch: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let limits: APILimits
    private var timer: Scheduled<Void>?
    private var context: ChannelHandlerContext?
    private var requests = 0
    private var lastRequest = NIODeadline.now()

    init(limits: APILimits) {
        self.limits = limits
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        schedule(in: .seconds(Int64(limits.handshakeSeconds))) { $0.close() }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        context.fireChannelInactive()
    }

    func handshakeHasEnded() {
        timer?.cancel()
        lastRequest = .now()
        watch()
    }

    func requestHasBegun() {
        requests += 1
    }

    func requestHasEnded() {
        requests -= 1
        lastRequest = .now()
    }

    /// Longer than the HTTP handlers wait, which close in a better way.
    private var idleLimit: TimeAmount { .seconds(Int64(limits.idleSeconds + limits.headSeconds)) }

    private func watch() {
        schedule(in: .seconds(Int64(max(1, limits.idleSeconds / 2)))) { watch in
            if watch.requests == 0, .now() - watch.lastRequest > watch.idleLimit { return watch.close() }
            watch.watch()
        }
    }

    private func schedule(in time: TimeAmount, _ body: @escaping @Sendable (ConnectionWatch) -> Void) {
        guard let context else { return }
        let loopBound = NIOLoopBound(self, eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: time) { body(loopBound.value) }
    }

    private func close() {
        context?.close(promise: nil)
    }
}

/// Tells the watch that the TLS handshake has ended: it stands behind the TLS handler, which says so.
final class HandshakeObserver: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted? = event as? TLSUserEvent {
            try? context.pipeline.syncOperations.handler(type: ConnectionWatch.self).handshakeHasEnded()
        }
        context.fireUserInboundEventTriggered(event)
    }
}
