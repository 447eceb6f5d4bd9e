import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// Limits the time and the size of what arrives on a connection. Hummingbird has no such limits.
///
/// The handler's place in the pipeline is after the HTTP codec. For HTTP/1.1, this handler puts a ``HeadGuard`` before the codec. A
/// body that takes too long is answered with 408. After 408 and 413 the connection is closed, because the rest of the body may
/// still arrive.
final class ConnectionGuard: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let limits: APILimits
    private var headGuard: HeadGuard?
    private var hostGuard: HostGuard?
    /// Ends a request whose body takes too long.
    private var timer: Scheduled<Void>?
    private var isInBody = false
    private var hasResponded = false
    private var closesAfterResponse = false
    private var isRefused = false
    private var watch: ConnectionWatch?
    /// Requests whose responses were not written yet.
    private var running = 0
    private var responseTimer: Scheduled<Void>?
    private var isGone = false
    private var isClosed = false
    private var hangUpActions: [Int: () -> Void] = [:]
    private var lastAction = 0
    /// The actions of ``onWritten(_:)`` that wait for the next response.
    private var writtenActions: [() -> Void] = []
    private var progress: ResponseProgress?

    init(limits: APILimits) {
        self.limits = limits
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let pipeline = context.pipeline.syncOperations
        // A stream of HTTP/2 runs on the event loop of its connection.
        watch =
            (try? pipeline.handler(type: ConnectionWatch.self))
            ?? (try? context.channel.parent?.pipeline.syncOperations.handler(type: ConnectionWatch.self))
        // A stream of HTTP/2 has no encoder for HTTP/1.1 and needs no HeadGuard, because the HTTP/2 handler limits frames. The
        // encoder is the codec's first handler, so a HeadGuard before it can write bytes that are sent unchanged.
        guard let encoder = try? pipeline.handler(type: HTTPResponseEncoder.self) else { return }
        let guardian = HeadGuard(limits: limits)
        headGuard = guardian
        // Adding can't fail, because the encoder is there. If adding failed, only this limit would be missing for the connection.
        try? pipeline.addHandler(guardian, position: .before(encoder))
        guard let decoder = try? pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self) else { return }
        let hosts = HostGuard()
        hostGuard = hosts
        try? pipeline.addHandler(hosts, position: .after(decoder))
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
        peerIsGone()
        writingHasEnded()
    }

    func channelInactive(context: ChannelHandlerContext) {
        peerIsGone()
        writingHasEnded()
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // In HTTP/1.1, this event means that the client has closed at least its sending side, and the client counts as gone. In
        // HTTP/2, the event means only that the request has ended.
        if event as? ChannelEvent == .inputClosed, headGuard != nil { peerIsGone() }
        context.fireUserInboundEventTriggered(event)
    }

    /// Calls `action` when the client disconnects, or at once if it has already disconnected.
    ///
    /// - Returns: The argument for ``forget(_:)``.
    func onHangUp(_ action: @escaping () -> Void) -> Int {
        lastAction += 1
        if isGone { action() } else { hangUpActions[lastAction] = action }
        return lastAction
    }

    func forget(_ id: Int) {
        hangUpActions[id] = nil
    }

    /// Calls `action` when the last byte of the next response was written to the connection, or when the connection is closed.
    func onWritten(_ action: @escaping () -> Void) {
        guard !isClosed else { return action() }
        writtenActions.append(action)
    }

    /// Ends the counting of unread responses when the connection is closed. A client that closed only its sending side still
    /// counts, because it may leave a response unread for long.
    private func writingHasEnded() {
        isClosed = true
        progress?.finish()
        progress = nil
        let actions = writtenActions
        writtenActions = []
        for action in actions { action() }
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
            guard hostGuard?.hasOneHost ?? true, Self.hasOneHost(head), targetsItsHost(head) else {
                return refuse(.badRequest, context)
            }
            if let expected = head.headerFields[.expect] {
                guard expected.lowercased() == "100-continue" else {
                    return refuse(.expectationFailed, context)
                }
                invite(head)
            }
            isInBody = true
        case .body: break
        case .end:
            isInBody = false
            timer?.cancel()
            timer = nil
            headGuard?.requestHasEnded()
        }
        context.fireChannelRead(data)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        // Most requests come in one piece, and need no timer.
        if isInBody, timer == nil, !isRefused { limitTime(context) }
        context.fireChannelReadComplete()
    }

    private func limitTime(_ context: ChannelHandlerContext) {
        let loopBound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: .seconds(Int64(limits.bodySeconds))) {
            let (handler, context) = loopBound.value
            handler.refuse(.requestTimeout, context)
        }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(var head):
            hasResponded = true
            responseBegins(context)
            progress = ResponseProgress(writtenActions)
            writtenActions = []
            if head.status == .contentTooLarge, headGuard != nil {
                head.headerFields[.connection] = "close"
                closesAfterResponse = true
            }
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .end:
            let promise = progress?.following(promise, isLast: true, on: context.eventLoop) ?? promise
            if running > 0 { requestHasEnded() }
            if closesAfterResponse {
                context.writeAndFlush(data, promise: promise)
                context.close(promise: nil)
            } else {
                context.write(data, promise: promise)
            }
        case .body:
            context.write(data, promise: progress?.following(promise, isLast: false, on: context.eventLoop) ?? promise)
        }
    }

    /// Closes a stream of HTTP/2 whose client does not read the response in time. A connection of HTTP/1.1 is closed by its idle
    /// timeout.
    private func responseBegins(_ context: ChannelHandlerContext) {
        guard headGuard == nil else { return }
        let loopBound = NIOLoopBound(context, eventLoop: context.eventLoop)
        responseTimer = context.eventLoop.scheduleTask(in: .seconds(Int64(limits.idleSeconds))) {
            loopBound.value.close(promise: nil)
        }
    }

    /// Sends 100 (Continue) to a client that waits for it before it sends the body (RFC 9110 section 10.1.1). If no address accepts
    /// the declared length, nothing is sent, because the request is refused without its body.
    private func invite(_ head: HTTPRequest) {
        let length = head.headerFields[.contentLength].flatMap(Int.init) ?? 0
        guard length <= APILimits.bulkLength else { return }
        headGuard?.sendContinue()
    }

    /// The bytes of a request line and header block in HTTP/1.1.
    private static func length(of head: HTTPRequest) -> Int {
        head.headerFields.reduce(head.path?.utf8.count ?? 0) { $0 + $1.name.rawName.utf8.count + $1.value.utf8.count + 4 }
    }

    /// Whether a request names exactly one host (RFC 9112 section 3.2). If a request names several hosts, a proxy may have routed
    /// it by another host than this service uses.
    private static func hasOneHost(_ head: HTTPRequest) -> Bool {
        guard let name = HTTPField.Name("Host") else { return true }
        // The codec uses the first host as the authority, and leaves the other hosts among the fields.
        return head.headerFields[values: name].allSatisfy { $0 == head.authority }
    }

    /// Whether a request of HTTP/2 names a path and its host (RFC 9113 section 8.3.1). ``HostGuard`` checks requests of HTTP/1.
    private func targetsItsHost(_ head: HTTPRequest) -> Bool {
        guard hostGuard == nil else { return true }
        guard head.authority != nil, let path = head.path else { return false }
        return path.hasPrefix("/") || path == "*" && head.method == .options
    }

    /// Responds to a request without reading the rest of it, and closes the connection.
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
