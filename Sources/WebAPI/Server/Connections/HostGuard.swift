import NIOCore
import NIOHTTP1

/// Checks whether the last head of HTTP/1 has one Host header (RFC 9112 section 3.2), and a target on that host. HTTP/1.0 needs no
/// Host header.
///
/// This handler comes before the codec, because the codec drops the version, the number of Host headers and the host in the target.
final class HostGuard: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart

    private(set) var hasOneHost = true

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .head(let head) = unwrapInboundIn(data) {
            let count = head.headers["host"].count
            hasOneHost = (count == 1 || count == 0 && head.version == .http1_0) && Self.isOnHost(head)
        }
        context.fireChannelRead(data)
    }

    /// Whether the target is a path, or names the host of the header. A host in the target takes precedence over the header
    /// (RFC 9112 section 3.2.2), so both must be the same.
    private static func isOnHost(_ head: HTTPRequestHead) -> Bool {
        let target = head.uri
        if target.hasPrefix("/") { return true }
        if target == "*" { return head.method == .OPTIONS }
        let schemes = ["https://", "http://"]
        guard let host = head.headers.first(name: "host"),
            let scheme = schemes.first(where: { target.prefix($0.count).lowercased() == $0 })
        else { return false }
        return target.dropFirst(scheme.count).prefix { !"/?#".contains($0) }.lowercased() == host.lowercased()
    }
}
