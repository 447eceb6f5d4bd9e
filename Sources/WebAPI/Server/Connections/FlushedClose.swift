import NIOCore

/// Closes a connection only when all earlier writes have been sent. This handler follows the TLS handler.
///
/// When a connection quiesces, HTTP/2 closes it after its last stream. At that time the end of the stream is written, but not
/// flushed.
final class FlushedClose: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// How long the client may take to read what was written.
    private let patience: TimeAmount
    /// Nil until the connection is to be closed.
    private var closed: EventLoopFuture<Void>?

    init(patience: TimeAmount) { self.patience = patience }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard mode == .all else { return context.close(mode: mode, promise: promise) }
        if let closed { return closed.cascade(to: promise) }
        let isClosed = context.eventLoop.makePromise(of: Void.self)
        closed = isClosed.futureResult
        isClosed.futureResult.cascade(to: promise)
        let isSent = context.eventLoop.makePromise(of: Void.self)
        let timer = context.eventLoop.scheduleTask(in: patience) { isSent.succeed() }
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        isSent.futureResult.whenComplete { _ in
            timer.cancel()
            bound.value.close(promise: isClosed)
        }
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.whenComplete { _ in isSent.succeed() }
        context.writeAndFlush(wrapOutboundOut(context.channel.allocator.buffer(capacity: 0)), promise: written)
    }
}
