import Authentication
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
import JSON
import Logging
import Model
import NIOCore
import ServiceLifecycle

/// The listener without TLS. The listener refuses requests to the API with the error ``ErrorCode/httpsRequired``, and redirects
/// everything else to HTTPS. Requests that a trusted proxy received over TLS are served as by the HTTPS service.
struct HTTPRedirectServer: Sendable {
    /// The HTTPS service's address, without a trailing slash.
    let baseURL: String
    let limits: APILimits
    let logger: Logger
    let listeners: Listeners
    let api: WebAPI
    /// Responds to requests that a trusted proxy received over TLS.
    let secure: AddressResponder

    /// - Parameters:
    ///   - address: A host with its port, or the path of a unix socket.
    ///   - onRunning: Called with the listener once it accepts connections.
    func server(
        at address: BindAddress, onRunning: @escaping @Sendable (any Channel) async -> Void
    ) -> some ApplicationProtocol {
        Application(
            responder: responder, server: .init { connection($0) },
            configuration: .init(
                address: address, serverName: nil,
                availableConnectionsDelegate: MaximumAvailableConnections(limits.connections)),
            onServerRunning: onRunning,
            logger: logger
        )
    }

    /// The listener without TLS on a socket that another program, such as systemd, has opened.
    func server(
        on socket: NIOBSDSocket.Handle, onRunning: @escaping @Sendable (any Channel) async -> Void
    ) -> some Service {
        let respond = InheritedListener<GuardedChannel<HTTP1Channel>>.responder(responder, logger: logger)
        return InheritedListener(
            on: socket, connection(respond), limit: limits.connections, logger: logger, onRunning: onRunning)
    }

    private var responder: CallbackResponder<APIContext> {
        CallbackResponder { (request: Request, context: APIContext) in try await respond(request, context) }
    }

    private func connection(_ responder: @escaping HTTPChannelHandler.Responder) -> GuardedChannel<HTTP1Channel> {
        let streams = HTTP1Channel.Configuration(
            additionalChannelHandlers: [ConnectionGuard(limits: limits)],
            idleTimeout: .seconds(Int64(limits.idleSeconds)),
            httpDecoderConfiguration: .init(maxHeaderFieldSize: 1 << 18, maxHeaderListSize: 1 << 18))
        let channel = HTTP1Channel(responder: responder, configuration: streams)
        return GuardedChannel(current: { channel }, limits: limits, listeners: listeners)
    }

    private func respond(_ request: Request, _ context: APIContext) async throws -> Response {
        // If `X-Forwarded-Proto` has two values, the client may have written one of them, so only a single value counts.
        let isTrusted = Listeners.isLocal(context.channel) || listeners.isTrusted(listeners.peer(of: context.channel))
        if isTrusted, request.headers[values: .xForwardedProto] == ["https"] {
            return try await secure.respond(to: request, context: context)
        }
        let (routed, resolved) = secure.resolved(request, context)
        if let header = request.headers[.authorization], header.prefix(7).lowercased() == "bearer " {
            await api.noteExposure(
                of: String(header.dropFirst(7)).trimmingCharacters(in: .whitespaces), for: resolved.address?.organization, context,
                address: listeners.clientAddress(of: request, on: context.channel))
        }
        return refusal(of: routed)
    }

    private func refusal(of request: Request) -> Response {
        let segments = request.uri.path.split(separator: "/")
        let isForPrograms = segments.count >= 2 && ["api", "oauth2", "discovery", ".well-known", "v2.0"].contains(segments[1])
        let isSOAP = WebAPI.isSOAP(request.uri.path)
        guard !isForPrograms, !isSOAP, request.method == .get else {
            let error = FieldsealError(
                .httpsRequired, "This request is served over HTTPS only: \(baseURL)\(request.uri.path.prefix(200))")
            if isSOAP { return WebAPI.fault(for: error, request, activity: UUID.random().text).response }
            let answer = APIResponse.error(error)
            return (OAuthError.answers(request.uri.path) ? OAuthError.told(answer) : answer).response
        }
        // The new address contains the requested path only if its segments consist of ASCII letters, digits and hyphens.
        let path =
            segments.allSatisfy { $0.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") } }
            ? request.uri.path : "/"
        let address = "\(baseURL)\(path)"
        // A page with the address, for clients that do not follow redirects.
        let page = """
            <!DOCTYPE html><html lang="en"><title>HTTPS only</title><h1>HTTPS only</h1>
            <p>Keys and passwords are not served without encryption. Go to <a href="\(address)">\(address)</a>.</p></html>

            """
        return Response(
            status: .permanentRedirect,
            headers: [.location: address, .contentType: "text/html; charset=utf-8", .cacheControl: "no-store"],
            body: .init(byteBuffer: ByteBuffer(string: page)))
    }
}
