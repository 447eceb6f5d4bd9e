import NIOCore
import NIOTLS

/// Tells ``ConnectionWatch`` that the TLS handshake has ended. This handler comes after the TLS handler, which reports the end of
/// the handshake.
final class HandshakeObserver: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted? = event as? TLSUserEvent {
            try? context.pipeline.syncOperations.handler(type: ConnectionWatch.self).handshakeHasEnded()
        }
        context.fireUserInboundEventTriggered(event)
    }
}
