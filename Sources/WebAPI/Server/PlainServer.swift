import Fieldseal
import HTTPTypes
public import Hummingbird
import HummingbirdCore
public import Logging
import NIOCore

/// The listener without TLS, which serves nothing: the API is refused with the code that clients know, and everything else
/// is shown the way to HTTPS.
public struct PlainServer: Sendable {
    private let baseURL: String
    private let limits: APILimits
    private let logger: Logger

    /// - Parameter baseURL: The HTTPS service's address, without a trailing slash.
    public init(baseURL: String, limits: APILimits = APILimits(), logger: Logger) {
        self.baseURL = baseURL
        self.limits = limits
        self.logger = logger
    }

    /// - Parameter onRunning: Gets the port once connections are taken.
    public func server(
        host: String,
        port: Int,
        onRunning: @escaping @Sendable (Int) async -> Void
    ) -> some ApplicationProtocol {
        let limits = limits
        return Application(
            responder: CallbackResponder { (request: Request, _: APIContext) in answer(request) },
            server: .http1(
                configuration: .init(
                    additionalChannelHandlers: [ConnectionGuard(limits: limits)],
                    idleTimeout: .seconds(Int64(limits.idleSeconds)),
                    httpDecoderConfiguration: .init(maxHeaderFieldSize: 1 << 18, maxHeaderListSize: 1 << 18))),
            configuration: .init(
                address: .hostname(host, port: port), serverName: nil,
                availableConnectionsDelegate: MaximumAvailableConnections(limits.connections)),
            onServerRunning: { await onRunning($0.localAddress?.port ?? port) },
            logger: logger
        )
    }

    private func answer(_ request: Request) -> Response {
        let segments = request.uri.path.split(separator: "/")
        let isForPrograms = segments.count >= 2 && ["api", "oauth2", "discovery", ".well-known", "v2.0"].contains(segments[1])
        guard !isForPrograms, request.method == .get else {
            return APIAnswer.error(
                FieldsealError(.httpsRequired, "This request is served over HTTPS only: \(baseURL)\(request.uri.path.prefix(200))")
            ).response
        }
        // Only what is certainly a path of ours is repeated in the address.
        let path =
            segments.allSatisfy { $0.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") } }
            ? request.uri.path : "/"
        let address = "\(baseURL)\(path)"
        // For whom the redirect does not help: a page that says where to go.
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
