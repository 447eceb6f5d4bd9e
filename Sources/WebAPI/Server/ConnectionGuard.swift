import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// Limits in time and size for what arrives on a connection, which hummingbird does not have.
///
/// It stands behind the HTTP codec and, for HTTP/1.1, puts a ``HeadGuard`` before it. A body that takes too long is
/// answered with 408; after 408 and 413 the connection is closed, since the rest of a body may still be on its way.
final class ConnectionGuard: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let limits: APILimits
    private var headGuard: HeadGuard?
    private var timer: Scheduled<Void>?
    private var hasResponded = false
    private var closesAfterResponse = false
    private var isRefused = false

    init(limits: APILimits) {
        self.limits = limits
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let pipeline = context.pipeline.syncOperations
        // A stream of HTTP/2 has no such encoder: its frames are limited by the HTTP/2 handler. The encoder is the first
        // of the codec's handlers; what is written before it goes out as it is.
        guard let encoder = try? pipeline.handler(type: HTTPResponseEncoder.self) else { return }
        let guardian = HeadGuard(limits: limits)
        headGuard = guardian
        // On failure the connection goes without; its handlers are there, so there is none.
        try? pipeline.addHandler(guardian, position: .before(encoder))
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isRefused else { return }
        switch unwrapInboundIn(data) {
        case .head(let head):
            headGuard?.headHasEnded()
            hasResponded = false
            guard Self.length(of: head) <= APILimits.headLength else {
                return refuse(.init(code: 431, reasonPhrase: "Request Header Fields Too Large"), context)
            }
            let loopBound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            timer = context.eventLoop.scheduleTask(in: .seconds(Int64(limits.bodySeconds))) {
                let (handler, context) = loopBound.value
                handler.refuse(.requestTimeout, context)
            }
        case .body: break
        case .end:
            timer?.cancel()
            timer = nil
            headGuard?.requestHasEnded()
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(var head):
            hasResponded = true
            if head.status == .contentTooLarge, headGuard != nil {
                head.headerFields[.connection] = "close"
                closesAfterResponse = true
            }
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .end where closesAfterResponse:
            context.writeAndFlush(data, promise: promise)
            context.close(promise: nil)
        default:
            context.write(data, promise: promise)
        }
    }

    /// Bytes of a request line and header block as HTTP/1.1 writes them.
    private static func length(of head: HTTPRequest) -> Int {
        head.headerFields.reduce(head.path?.utf8.count ?? 0) { $0 + $1.name.rawName.utf8.count + $1.value.utf8.count + 4 }
    }

    /// Answers a request whose rest is not waited for, and closes.
    private func refuse(_ status: HTTPResponse.Status, _ context: ChannelHandlerContext) {
        isRefused = true
        timer?.cancel()
        if !hasResponded {
            var head = HTTPResponse(status: status)
            if headGuard != nil { head.headerFields[.connection] = "close" }
            head.headerFields[.contentLength] = "0"
            context.write(wrapOutboundOut(.head(head)), promise: nil)
            context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        }
        context.close(promise: nil)
    }
}

/// Counts the bytes of a request's head and the time that it takes, before they are parsed.
///
/// hummingbird alone would answer an empty 400 to a head that is too large, and wait for ever for one that is slow.
final class HeadGuard: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let limits: APILimits
    private var isInHead = true
    private var length = 0
    private var requests = 0
    private var timer: Scheduled<Void>?

    init(limits: APILimits) {
        self.limits = limits
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
    }

    func headHasEnded() {
        isInHead = false
        timer?.cancel()
        timer = nil
    }

    func requestHasEnded() {
        isInHead = true
        length = 0
        requests += 1
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let count = unwrapInboundIn(data).readableBytes
        if isInHead, timer == nil {
            let loopBound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            timer = context.eventLoop.scheduleTask(in: .seconds(Int64(limits.headSeconds))) {
                let (handler, context) = loopBound.value
                handler.refuse("408 Request Timeout", context)
            }
        }
        // The decoder behind runs at once: afterwards it is known whether the head has ended within these bytes. When a
        // request has ended within them, they were that request's, and not the next one's head.
        let before = requests
        context.fireChannelRead(data)
        if isInHead, requests == before {
            length += count
            if length > APILimits.headLength { refuse("431 Request Header Fields Too Large", context) }
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
