import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// Counts the bytes of a request's head and the time that it takes, before the head is parsed.
///
/// Without this handler, hummingbird responds to a large head with an empty 400, and waits forever for a slow head.
final class HeadGuard: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let limits: APILimits
    private var isInHead = true
    private var length = 0
    private var requests = 0
    private var timer: Scheduled<Void>?
    private var context: ChannelHandlerContext?

    init(limits: APILimits) {
        self.limits = limits
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
        self.context = nil
    }

    func headHasEnded() {
        isInHead = false
        timer?.cancel()
        timer = nil
    }

    /// Writes 100 (Continue) without the encoder, which expects a final response.
    func sendContinue() {
        guard let context else { return }
        let response = context.channel.allocator.buffer(string: "HTTP/1.1 100 Continue\r\n\r\n")
        context.writeAndFlush(wrapOutboundOut(response), promise: nil)
    }

    func requestHasEnded() {
        isInHead = true
        length = 0
        requests += 1
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let count = unwrapInboundIn(data).readableBytes
        // The decoder runs within `fireChannelRead`, so after that call it is known whether the head ended within these bytes. If a
        // request ended within these bytes, all of them count for that request, and none for the next head.
        let before = requests
        context.fireChannelRead(data)
        if isInHead, requests == before {
            length += count
            if length > APILimits.headLength { refuse("431 Request Header Fields Too Large", context) }
        }
        // Most heads come in one piece, and need no timer.
        if isInHead, length > 0, timer == nil { limitTime(context) }
    }

    private func limitTime(_ context: ChannelHandlerContext) {
        let loopBound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: .seconds(Int64(limits.headSeconds))) {
            let (handler, context) = loopBound.value
            handler.refuse("408 Request Timeout", context)
        }
    }

    private func refuse(_ status: String, _ context: ChannelHandlerContext) {
        guard isInHead else { return }
        isInHead = false
        let response = "HTTP/1.1 \(status)\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        context.writeAndFlush(wrapOutboundOut(context.channel.allocator.buffer(string: response)), promise: nil)
        context.close(promise: nil)
    }
}
