import NIOCore
import Tenancy

/// Reads the header of the PROXY protocol, version 1 or 2, at the beginning of each connection from a load balancer (HAProxy,
/// proxy-protocol.txt). A connection that begins with anything else is closed.
final class ProxyProtocolHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let listeners: Listeners
    private let peer: IPAddress?
    private var buffer = ByteBuffer()
    private var isDone = false

    init(listeners: Listeners, peer: IPAddress?) {
        self.listeners = listeners
        self.peer = peer
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isDone else { return context.fireChannelRead(data) }
        var data = unwrapInboundIn(data)
        buffer.writeBuffer(&data)
        switch ProxyHeader.parse(buffer.readableBytesView) {
        case .incomplete: return
        case .malformed: return refuse(context)
        case .complete(let address, let length):
            isDone = true
            // A proxy's own connection, such as a health check, has the proxy's address.
            let client = address ?? peer
            guard listeners.admit(context.channel, from: client) else { return refuse(context) }
            if let address { listeners.tell(address, for: context.channel) }
            buffer.moveReaderIndex(forwardBy: length)
            if buffer.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(buffer)) }
            buffer = ByteBuffer()
            context.pipeline.syncOperations.removeHandler(self, promise: nil)
        }
    }

    private func refuse(_ context: ChannelHandlerContext) {
        isDone = true
        buffer = ByteBuffer()
        context.close(promise: nil)
    }
}
