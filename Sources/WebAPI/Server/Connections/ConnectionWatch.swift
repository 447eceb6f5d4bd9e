import NIOCore
import NIOTLS

/// The deadlines of one connection: for its TLS handshake, and for its next request. This handler comes before all other handlers.
/// Single bytes, and frames of HTTP/2 that are not requests, do not extend the deadline.
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

    /// The deadline for the next request. The deadline is longer than the time limits of the HTTP handlers, so that those handlers
    /// close the connection first.
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
