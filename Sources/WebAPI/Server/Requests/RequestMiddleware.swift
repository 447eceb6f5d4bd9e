import Authentication
import CurlClient
import HTTPTypes
import Hummingbird
import Logging
import Model
import NIOCore
import PostgresClient
import Synchronization

/// Converts every error to a response, logs each request once, and limits the number of requests in progress.
final class RequestMiddleware: RouterMiddleware {
    typealias Context = APIContext

    private let inFlight = Atomic<Int>(0)
    private let limit: Int
    private let listeners: Listeners
    /// Whether organizations may be moved to other databases.
    private let hasSeveralDatabases: Bool
    private let log: RequestLog
    private let page: WebAPI.ErrorPage?
    private let unread: UnreadResponses
    private let count = Atomic<Int>(0)
    let figures = RequestFigures()

    init(
        limit: Int, log: RequestLog, listeners: Listeners, hasSeveralDatabases: Bool, unread: UnreadResponses,
        page: WebAPI.ErrorPage?
    ) {
        self.unread = unread
        self.limit = limit
        self.log = log
        self.page = page
        self.listeners = listeners
        self.hasSeveralDatabases = hasSeveralDatabases
    }

    /// Stops counting a request that waits and is not being processed, until ``resume()``.
    func pause() { inFlight.subtract(1, ordering: .relaxed) }

    /// How many requests are being processed.
    var running: Int { inFlight.load(ordering: .relaxed) }

    func resume() { inFlight.add(1, ordering: .relaxed) }

    /// The error to report in place of `error`. If a schema or table disappears during a statement, its organization is being moved
    /// to another database.
    private static func told(_ error: any Error) -> any Error {
        guard let state = (error as? PostgresError)?.state, [.undefinedTable, .undefinedSchema].contains(state) else {
            return error
        }
        return FieldsealError(.unexpected, "The organization is being moved. Nothing was changed. Try again.", retryAfter: 1)
    }

    func handle(_ request: Request, context: Context, next: (Request, Context) async throws -> Response) async throws -> Response {
        let start = ContinuousClock.now
        var context = context
        let trace = TraceContext(request.headers)
        trace?.add(to: &context.logger)
        context.clientAddress = listeners.clientAddress(of: request, on: context.channel)
        let running = inFlight.add(1, ordering: .relaxed).newValue
        defer { inFlight.subtract(1, ordering: .relaxed) }
        var response: Response
        if running > limit {
            let busy = FieldsealError(.concurrentRequestsExceeded, "The server is busy. Try again.", retryAfter: 1)
            response =
                WebAPI.isSOAP(context.path)
                ? WebAPI.fault(for: busy, request, activity: context.requestID).response
                : told(APIResponse.error(busy, status: .serviceUnavailable), request, context)
        } else {
            do {
                try RequestFraming.check(request.headers)
                response = try await Self.traced(trace) { [context] in try await next(request, context) }
            } catch let thrown {
                let error = hasSeveralDatabases ? Self.told(thrown) : thrown
                let (answer, isInternal) = APIResponse.answer(to: error)
                let prefersInner = Preferences(request.headers[.prefer]).includesInnerErrors
                response =
                    WebAPI.isSOAP(context.path)
                    ? WebAPI.fault(for: error, request, activity: context.requestID).response
                    : told(prefersInner ? answer.withInnerError(error) : answer, request, context)
                if isInternal { context.logger.error("request failed", metadata: ["error": "\(error)"]) }
            }
        }
        response = await held(response, request, context)
        // A response that requests a token says where to get a token.
        if response.status == .unauthorized, response.headers[.wwwAuthenticate] == APIResponse.challenge,
            let address = context.address,
            context.target != nil || context.parameters.get("organization") == address.organization
        {
            response.headers[.wwwAuthenticate] = address.challenge
        }
        response.headers[.serviceRequestID] = context.requestID
        response.headers[.odataVersion] = "4.0"
        if response.headers[.cacheControl] == nil { response.headers[.cacheControl] = "no-cache" }
        response.headers[.xContentTypeOptions] = "nosniff"
        response.headers[.strictTransportSecurity] = "max-age=31536000"
        let duration = ContinuousClock.now - start
        figures.count(context.path, status: response.status.code, seconds: duration / .seconds(1))
        write(request, response, duration, context)
        return response
    }

    /// Counts the response until it has been written. Beyond the limit, an error replaces the response, unless the request may have
    /// changed something.
    private func held(_ response: Response, _ request: Request, _ context: Context) async -> Response {
        var response = response
        let share = context.hold.share ?? unread.share(of: .network(context.network))
        do {
            try share.hold(response.body.contentLength ?? 0)
        } catch {
            if [.get, .head].contains(request.method) || context.hold.isRead { response = refusal(error, request, context) }
            share.holdAlways(response.body.contentLength ?? 0)
        }
        await context.hold.end(share, afterResponseOf: context.channel)
        return response
    }

    private func refusal(_ error: FieldsealError, _ request: Request, _ context: Context) -> Response {
        WebAPI.isSOAP(context.path) && request.method == .post
            ? WebAPI.fault(for: error, request, activity: context.requestID).response
            : told(APIResponse.answer(to: error).answer, request, context)
    }

    /// Runs `body`. Requests that `body` makes to other services belong to the trace of this request.
    private static func traced(_ trace: TraceContext?, _ body: () async throws -> Response) async throws -> Response {
        guard let trace else { return try await body() }
        return try await OutgoingTrace.with(trace.outgoing, body)
    }

    /// The response to an error: a page for a browser, and OAuth's form of errors at the endpoints of OAuth.
    private func told(_ answer: APIResponse, _ request: Request, _ context: Context) -> Response {
        if OAuthError.answers(context.path) { return OAuthError.told(answer).response }
        guard let page, request.headers[.accept]?.contains("text/html") == true else { return answer.response }
        return page(request, context, answer.errorMessage ?? "", answer.response) ?? answer.response
    }

    /// Logs the request, with names and ids of its path. The query is left out, because it may have values of any attribute.
    private func write(_ request: Request, _ response: Response, _ duration: Duration, _ context: Context) {
        guard log.hasLine(status: response.status.code, number: count.add(1, ordering: .relaxed).newValue) else { return }
        var metadata: Logger.Metadata = [
            "method": "\(request.method)", "path": "\(Self.withoutValues(context.path))", "status": "\(response.status.code)",
            "milliseconds": "\(duration / .milliseconds(1))",
            "address": "\(context.clientAddress ?? "")", "actor": "\(context.principal.name ?? "")",
            "organization": "\(context.address.map(\.organization).flatMap { ServiceAddresses.isShared($0) ? nil : $0 } ?? "")",
            "bytes": "\(response.body.contentLength ?? 0)",
            // A stream's parent is a connection, and a connection's parent is the listener.
            "protocol": "\(context.channel.parent?.remoteAddress == nil ? "HTTP/1.1" : "HTTP/2")",
        ]
        if log.sampling > 1 { metadata["sampling"] = "\(log.sampling)" }
        context.logger.info("request", metadata: metadata)
    }

    /// A path up to its first quote or equals sign, encoded or not. The rest may be a value, such as that of an alternate key. A
    /// client may write any value there, even a password.
    private static func withoutValues(_ path: String) -> Substring {
        let bytes = path.utf8
        let end = bytes.indices.first { index in
            switch bytes[index] {
            case UInt8(ascii: "'"), UInt8(ascii: "\""), UInt8(ascii: "="): true
            case UInt8(ascii: "%"): ["%27", "%22", "%3d", "%3D"].contains { bytes[index...].starts(with: $0.utf8) }
            default: false
            }
        }
        return path[..<(end ?? path.endIndex)]
    }
}
