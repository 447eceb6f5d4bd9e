import NIOCore
import NIOTLS

/// Tells the watch that the TLS handshake has ended. It follows the TLS handler, which reports that.
final class HandshakeObserver: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted? = event as? TLSUserEvent {
            try? context.pipeline.syncOperations.handler(type: ConnectionWatch.self).handshakeHasEnded()
        }
        context.fireUserInboundEventTriggered(event)
    }
}
