import NIOCore
import NIOHTTP1

/// Whether the last head of HTTP/1 has one Host header (RFC 9112 section 3.2). HTTP/1.0 needs none.
///
/// It comes before the codec, which keeps neither the version nor the number of the headers.
final class HostGuard: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart

    private(set) var hasOneHost = true

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .head(let head) = unwrapInboundIn(data) {
            let count = head.headers["host"].count
            hasOneHost = count == 1 || count == 0 && head.version == .http1_0
        }
        context.fireChannelRead(data)
    }
}
