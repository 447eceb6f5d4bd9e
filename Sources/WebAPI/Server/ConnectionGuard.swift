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
    private var watch: ConnectionWatch?
    /// Requests whose responses are not written.
    private var running = 0
    private var responseTimer: Scheduled<Void>?
    private var isGone = false
    private var hangUpActions: [Int: () -> Void] = [:]
    private var lastAction = 0

    init(limits: APILimits) {
        self.limits = limits
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let pipeline = context.pipeline.syncOperations
        // A stream of HTTP/2 runs on the loop of its connection.
        watch =
            (try? pipeline.handler(type: ConnectionWatch.self))
            ?? (try? context.channel.parent?.pipeline.syncOperations.handler(type: ConnectionWatch.self))
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
        peerIsGone()
    }

    func channelInactive(context: ChannelHandlerContext) {
        peerIsGone()
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // On HTTP/1.1 the client closed the connection, whose other half it can't read any more; on HTTP/2 its request has ended.
        if event as? ChannelEvent == .inputClosed, headGuard != nil { peerIsGone() }
        context.fireUserInboundEventTriggered(event)
    }

    /// Calls `action` when the client hangs up, or at once if it has.
    ///
    /// - Returns: What ``forget(_:)`` takes.
    func onHangUp(_ action: @escaping () -> Void) -> Int {
        lastAction += 1
        if isGone { action() } else { hangUpActions[lastAction] = action }
        return lastAction
    }

    func forget(_ id: Int) {
        hangUpActions[id] = nil
    }

    private func peerIsGone() {
        isGone = true
        responseTimer?.cancel()
        let actions = hangUpActions.values
        hangUpActions = [:]
        for action in actions { action() }
        while running > 0 { requestHasEnded() }
    }

    private func requestHasEnded() {
        running -= 1
        watch?.requestHasEnded()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isRefused else { return }
        switch unwrapInboundIn(data) {
        case .head(let head):
            running += 1
            watch?.requestHasBegun()
            headGuard?.headHasEnded()
            hasResponded = false
            guard Self.length(of: head) <= APILimits.headLength else {
                return refuse(.init(code: 431, reasonPhrase: "Request Header Fields Too Large"), context)
            }
            guard Self.hasOneHost(head) else { return refuse(.badRequest, context) }
            if let expected = head.headerFields[.expect] {
                guard expected.lowercased() == "100-continue" else {
                    return refuse(.expectationFailed, context)
                }
                invite(head)
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
            responseBegins(context)
            if head.status == .contentTooLarge, headGuard != nil {
                head.headerFields[.connection] = "close"
                closesAfterResponse = true
            }
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .end:
            if running > 0 { requestHasEnded() }
            if closesAfterResponse {
                context.writeAndFlush(data, promise: promise)
                context.close(promise: nil)
            } else {
                context.write(data, promise: promise)
            }
        case .body:
            context.write(data, promise: promise)
        }
    }

    /// A client that does not read a response must not keep it: a connection of HTTP/1.1 is idle from then on, a stream of HTTP/2
    /// is closed.
    private func responseBegins(_ context: ChannelHandlerContext) {
        guard headGuard == nil else { return }
        let loopBound = NIOLoopBound(context, eventLoop: context.eventLoop)
        responseTimer = context.eventLoop.scheduleTask(in: .seconds(Int64(limits.idleSeconds))) {
            loopBound.value.close(promise: nil)
        }
    }

    /// Tells a client that waits before it sends its body to send it (RFC 9110 section 10.1.1). One that is too long for every
    /// address is refused by its head.
    private func invite(_ head: HTTPRequest) {
        let length = head.headerFields[.contentLength].flatMap(Int.init) ?? 0
        guard length <= APILimits.bulkLength else { return }
        headGuard?.sendContinue()
    }

    /// Bytes of a request line and header block as HTTP/1.1 writes them.
    private static func length(of head: HTTPRequest) -> Int {
        head.headerFields.reduce(head.path?.utf8.count ?? 0) { $0 + $1.name.rawName.utf8.count + $1.value.utf8.count + 4 }
    }

    /// Whether a request names one host (RFC 9112 section 3.2): a proxy in front may have read the other one.
    private static func hasOneHost(_ head: HTTPRequest) -> Bool {
        guard let name = HTTPField.Name("Host") else { return true }
        // The codec takes the first as the authority; the others are left among the fields.
        return head.headerFields[values: name].allSatisfy { $0 == head.authority }
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

    /// Writes an interim response, past the encoder of final ones.
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
