package import Authentication
package import Email
import Foundation
import HTTPTypes
package import Hummingbird
import HummingbirdCore
import HummingbirdHTTP2
import HummingbirdTLS
import JSON
package import Logging
package import MetricsFormat
import Model
package import NIOCore
package import NIOSSL
import PostgresClient
package import ServiceLifecycle
package import Tenancy

/// The HTTPS service. A request goes through these steps: bytes → path and query → session → SQL → response. ``router(_:)``
/// registers the addresses. ``DataAPI`` dispatches the requests below the address of the data API.
package struct WebAPI: Sendable {
    private(set) var deployment: Deployment
    private(set) var mail: MailService
    private(set) var tokens: TokenIssuer
    let limits: APILimits
    let quota: RequestQuota
    let largeBodies = LargeBodies()
    let unread = UnreadResponses()
    let documents = SharedDocuments()
    private let listeners: Listeners
    private let readiness: Readiness
    private let requests: RequestMiddleware
    private let logger: Logger
    private var pages: @Sendable (Router<APIContext>) -> Void
    /// Routes requests to several databases; nil if there is only one.
    private let databases: DatabaseRouting?

    /// - Parameters:
    ///   - places: Finds the database of an organization, if there are several. ``serve(_:_:mail:tokens:pages:)`` adds each
    ///     database.
    ///   - absence: Why a database was not added yet, by its name; nil if the service could not connect to it.
    ///   - pages: Adds routes of other parts of the service.
    ///   - errorPage: Makes the error pages that browsers get.
    package init(
        _ deployment: Deployment,
        mail: MailService,
        tokens: TokenIssuer,
        limits: APILimits = APILimits(),
        places: OrganizationPlaces? = nil,
        absence: @escaping @Sendable (String) -> String? = { _ in nil },
        logger: Logger,
        pages: @escaping @Sendable (Router<APIContext>) -> Void = { _ in },
        errorPage: ErrorPage? = nil
    ) {
        self.pages = pages
        self.deployment = deployment
        self.mail = mail
        self.tokens = tokens
        self.limits = limits
        quota = RequestQuota(limits)
        listeners = Listeners(limits)
        readiness = Readiness(deployment, tokens, among: places?.databases, absence: absence)
        databases = places.map { DatabaseRouting($0, addresses: tokens.addresses) }
        requests = RequestMiddleware(
            limit: limits.requests, log: limits.log, listeners: listeners, hasSeveralDatabases: places != nil,
            unread: unread, page: errorPage)
        self.logger = logger
    }

    /// Makes the HTML page of an error, with the status and the headers of `answer`. Nil if the request does not come from a
    /// browser that shows pages.
    package typealias ErrorPage =
        @Sendable (_ request: Request, _ context: APIContext, _ message: String, _ answer: Response) ->
        Response?

    /// Makes `/readyz` report that the server is about to stop, so that load balancers send no more requests. The server continues
    /// to serve.
    package func announceStop() { readiness.stop() }

    /// Serves the organizations of a database, with the same listeners and limits. If there are several databases, each database is
    /// added once it is reachable.
    package func serve(
        _ name: String, _ deployment: Deployment, mail: MailService, tokens: TokenIssuer,
        pages: @escaping @Sendable (Router<APIContext>) -> Void
    ) {
        var other = self
        (other.deployment, other.mail, other.tokens, other.pages) = (deployment, mail, tokens, pages)
        readiness.add(name, deployment, tokens)
        databases?.add(name, other.router(CrossOrigin(origins: Set(limits.allowedOrigins))).buildResponder())
    }

    /// The certificates for TLS handshakes.
    package struct Identity: Sendable {
        let chain: [NIOSSLCertificateSource]
        let privateKey: NIOSSLPrivateKeySource

        package init(chain: [NIOSSLCertificate], privateKey: NIOSSLPrivateKey) {
            self.chain = chain.map { .certificate($0) }
            self.privateKey = .privateKey(privateKey)
        }
    }

    /// The service over TLS 1.2 and 1.3, with HTTP/1.1 and HTTP/2.
    ///
    /// - Parameters:
    ///   - identities: The certificates for handshakes.
    ///   - onRunning: Called with the port once connections are accepted.
    package func server(
        host: String,
        port: Int,
        identities: ServerIdentities,
        onRunning: @escaping @Sendable (Int) async -> Void
    ) throws -> some ApplicationProtocol {
        Application(
            responder: responder(),
            server: .init { try connection($0, identities) },
            configuration: .init(
                address: .hostname(host, port: port), serverName: nil,
                availableConnectionsDelegate: MaximumAvailableConnections(limits.connections)),
            onServerRunning: { await onRunning($0.localAddress?.port ?? port) },
            logger: logger
        )
    }

    /// The HTTPS service on a socket that another program, such as systemd, has opened.
    package func server(
        on socket: NIOBSDSocket.Handle,
        identities: ServerIdentities,
        onRunning: @escaping @Sendable (Int) async -> Void
    ) throws -> some Service {
        let respond = InheritedListener<GuardedChannel<HTTP2UpgradeChannel>>.responder(
            responder(), logger: logger)
        return InheritedListener(
            on: socket, try connection(respond, identities), limit: limits.connections, logger: logger
        ) { await onRunning($0.localAddress?.port ?? 0) }
    }

    /// A connection of the HTTPS service.
    private func connection(
        _ responder: @escaping HTTPChannelHandler.Responder, _ identities: ServerIdentities
    ) throws -> GuardedChannel<HTTP2UpgradeChannel> {
        let streams = HTTP1Channel.Configuration(
            additionalChannelHandlers: [ConnectionGuard(limits: limits)],
            idleTimeout: .seconds(Int64(limits.idleSeconds)),
            // The limit of ``HeadGuard`` and ``ConnectionGuard`` is lower, and they respond with 431.
            httpDecoderConfiguration: .init(maxHeaderFieldSize: 1 << 18, maxHeaderListSize: 1 << 18)
        )
        let configuration = HTTP2UpgradeChannel.Configuration(
            idleTimeout: .seconds(limits.idleSeconds),
            gracefulCloseTimeout: .seconds(APILimits.endSeconds + limits.idleSeconds), streamConfiguration: streams)
        let certificates = limits.clientCertificates
        let current = try CurrentChannel(identities, logger: logger) {
            try HTTP2UpgradeChannel(
                tlsChannelConfiguration: certificates.channel(identities.configuration, identities.clientAuthorities),
                configuration: configuration, responder: responder)
        }
        return GuardedChannel(
            current: { current.currentHandlers() }, limits: limits, listeners: listeners,
            takesProxyProtocol: limits.takesProxyProtocol)
    }

    /// The listener without TLS. Requests that trusted proxies received over TLS are served as by the HTTPS service.
    ///
    /// - Parameter onRunning: Called with the port once connections are accepted.
    package func plainServer(
        host: String,
        port: Int,
        onRunning: @escaping @Sendable (Int) async -> Void
    ) -> some ApplicationProtocol {
        plain.server(at: .hostname(host, port: port)) { await onRunning($0.localAddress?.port ?? port) }
    }

    /// The listener on a unix socket, for a proxy on the same machine. The listener serves only requests that the proxy received
    /// over TLS.
    ///
    /// - Parameter onRunning: Called once connections are accepted.
    package func socketServer(path: String, onRunning: @escaping @Sendable () async -> Void) -> some ApplicationProtocol {
        plain.server(at: .unixDomainSocket(path: path)) { _ in await onRunning() }
    }

    /// The listener without TLS on a socket, of TCP or unix, that another program, such as systemd, has opened.
    package func plainServer(
        on socket: NIOBSDSocket.Handle, onRunning: @escaping @Sendable (Int) async -> Void
    ) -> some Service {
        plain.server(on: socket) { await onRunning($0.localAddress?.port ?? 0) }
    }

    private var plain: HTTPRedirectServer {
        HTTPRedirectServer(
            baseURL: tokens.addresses.baseURL, limits: limits, logger: logger, listeners: listeners, api: self,
            secure: responder())
    }

    /// Writes the figures of the service's listeners and requests as metrics.
    package func write(to text: inout MetricsText) {
        requests.figures.write(to: &text)
        text.gauge(
            "fieldseal_http_requests_in_flight", "Requests that are being processed.", [.init([:], Double(requests.running))])
        text.gauge(
            "fieldseal_http_connections", "Connections of clients, apart from those of trusted proxies.",
            [.init([:], Double(listeners.connections))])
    }

    private func responder() -> AddressResponder {
        let crossOrigin = CrossOrigin(origins: Set(limits.allowedOrigins))
        return AddressResponder(
            addresses: tokens.addresses, inner: router(crossOrigin).buildResponder(),
            direct: DirectResponder(
                crossOrigin: crossOrigin, requests: requests, data: data, organizationService: organizationService),
            databases: databases)
    }

    private func router(_ crossOrigin: CrossOrigin) -> Router<APIContext> {
        let router = Router(context: APIContext.self, options: [.autoGenerateHeadEndpoints])
        router.add(middleware: crossOrigin)
        router.add(middleware: requests)
        if databases != nil { router.add(middleware: RefusedOrganizations()) }
        router.get("healthz") { _, _ in APIResponse.json(["status": "ok"]) }
        router.get("readyz") { _, _ in try await readiness.answer() }
        for method in [HTTPRequest.Method.get, .post, .patch, .put, .delete] {
            for path in [":organization/api/data/:version", ":organization/api/data/:version/**"] as [RouterPath] {
                router.on(path, method: method, use: data)
            }
        }
        addOrganizationService(to: router)
        addDiscoveryService(to: router)
        for path in [":organization/api/data/:version", ":organization/api/data/:version/**"] as [RouterPath] {
            router.on(path, method: .options, use: options)
        }
        // The following routes need no token.
        router.add(middleware: NetworkShare(begin: begin))
        addTokenEndpoints(to: router)
        pages(router)
        return router
    }

    /// Adds the token endpoints of Microsoft's identity platform, in its current and its older version. Clients derive these
    /// addresses from the organization's, or discover them.
    private func addTokenEndpoints(to router: Router<APIContext>) {
        for path in ["v2.0/token", "token", "v2.0/revoke", "revoke"] {
            let path = RouterPath(":organization/oauth2/\(path)")
            for method in [HTTPRequest.Method.get, .put, .patch, .delete] {
                router.on(path, method: method) { _, _ -> APIResponse in throw MethodNotAllowed(.post, .options) }
            }
            router.on(path, method: .options) { _, _ in APIResponse.noContent([.allow: "POST, OPTIONS"]) }
        }
        router.post(":organization/oauth2/v2.0/token", use: token)
        router.post(":organization/oauth2/token", use: olderToken)
        for root in [":organization/oauth2/v2.0", ":organization/oauth2"] {
            router.post(RouterPath("\(root)/revoke"), use: revoke)
            router.get(RouterPath("\(root)/authorize"), use: authorize)
        }
        router.get(":organization/v2.0/.well-known/openid-configuration", use: openIDConfiguration)
        router.get(":organization/.well-known/openid-configuration", use: olderConfiguration)
        router.get(":organization/.well-known/oauth-authorization-server", use: olderConfiguration)
        // MSAL asks no other server about an authority whose path has `adfs`. Many programs have no other setting that prevents
        // such a request.
        router.get(":organization/adfs/.well-known/openid-configuration", use: openIDConfiguration)
        router.get(":organization/discovery/v2.0/keys", use: keySet)
        router.get(":organization/discovery/keys", use: keySet)
    }

    /// Responds to requests below `/{organization}/api/data/v9.x`.
    private func data(_ request: Request, _ context: APIContext) async throws -> APIResponse {
        let address = try context.organizationAddress()
        let version = if case .data(let version) = context.target { version } else { try context.parameters.require("version") }
        guard DirectResponder.isVersion(version[...].utf8) else { throw ODataPath.unknown(version) }
        let token = try await client(request, address.organization, context)
        let borrower = PoolBorrower.principal(token.client)
        let unread = try begin(borrower, context)
        return try await PoolBorrower.$current.withValue(borrower) {
            let pause = RequestPause(client: borrower, quota: quota, requests: requests)
            guard BackgroundExecutor.isNeeded(by: request) else {
                return try await data(request, context, address, version, token, (pause, unread), context.peer)
            }
            return try await withTaskExecutorPreference(BackgroundExecutor.shared) {
                try await data(request, context, address, version, token, (pause, unread), context.peer.inBackground)
            }
        }
    }

    /// Counts a request of a client or a network, until its response has been written.
    ///
    /// - Throws: ``FieldsealError`` with a time to retry, when the client has reached its limit of requests or of unread
    ///   responses.
    @discardableResult
    func begin(_ client: PoolBorrower, _ context: APIContext) throws(FieldsealError) -> UnreadResponses.Share {
        let share = unread.share(of: client)
        try share.requireRoom()
        try quota.begin(client)
        context.hold.begin(share) { [quota] in quota.end(client) }
        return share
    }

    private func data(
        _ request: Request, _ context: APIContext, _ address: OrganizationAddress, _ version: String, _ token: VerifiedToken,
        _ counted: (pause: RequestPause, unread: UnreadResponses.Share), _ peer: Peer?
    ) async throws -> APIResponse {
        let path = Self.pathBelowVersion(context.path)
        guard request.uri.string.utf8.count <= APILimits.urlLength else {
            let message = "A URL may be 32 KiB long. Send the query in a $batch."
            return APIResponse.error(FieldsealError(.badRequest, message), status: .init(code: 414))
        }
        let addresses = RecordAddresses(asked: address, all: tokens.addresses)
        let isRead = [.get, .head].contains(request.method)
        let limit = isRead ? 0 : Self.bodyLimit(path)
        let share = limit > APILimits.bodyLength ? largeBodies.share(of: .principal(token.client)) : nil
        defer { share?.end() }
        let call = APIRequest(
            method: isRead ? .get : request.method, path: path, query: request.uri.query, headers: request.headers,
            body: isRead ? [] : try await body(request, upTo: limit, share),
            addresses: addresses)
        let resource = Result { try ODataPath(Substring(path)) }
        let impersonated = Result { try RequestHeaders.impersonatedUser(request.headers) }
        let isOwn: Bool = if case .success(nil) = impersonated { true } else { false }
        let sessions = ClientSessions(
            deployment, organization: address.organization, client: token.client, address: context.clientAddress,
            requestID: context.requestID, signedInOn: token.signedInOn)
        return try await sessions.run(
            mayAssume: isOwn && (try? resource.get()).map(DataAPI.mayAssume) ?? false,
            onBegin: { context.principal.name = $0.caller.actor }
        ) { own in
            var api = DataAPI(
                session: own, sessions: sessions, user: try impersonated.get(),
                serviceRoot: "\(address.url)/api/data/\(version)", addresses: addresses, limits: limits, mail: mail, peer: peer,
                pause: counted.pause, unread: counted.unread)
            if let user = api.user {
                api.session = try await own.impersonating(user)
                context.principal.name = api.session.caller.actor
            }
            let path = try resource.get()
            return await ResponseCompression.compressed(try await api.answer(call, at: path), for: call.headers, at: path)
        }
    }

    /// The part after `/{organization}/api/data/v9.x`. Clients that join parts of addresses may write double slashes.
    private static func pathBelowVersion(_ path: String) -> String {
        let slash = UInt8(ascii: "/")
        var rest = path.utf8[...]
        for _ in 0..<4 { rest = rest.drop { $0 == slash }.drop { $0 != slash } }
        return String(Substring(rest))
    }

    /// The largest body of a request in bytes.
    private static func bodyLimit(_ path: String) -> Int {
        let isBulk =
            path.hasSuffix("/$batch") || path.hasSuffix("Multiple") || path.contains("IncomingEmail")
            || path.hasSuffix("/%24batch")
            // E-mails may have attachments. After the name of an entity set, the path ends, or a key or another segment follows.
            || ["/emails", "/activitymimeattachments"].contains { name in
                path.hasPrefix(name) && path.dropFirst(name.count).first.map { "(/%".contains($0) } ?? true
            }
        return isBulk ? APILimits.bulkLength : APILimits.bodyLength
    }
}
