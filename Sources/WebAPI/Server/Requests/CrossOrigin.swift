import HTTPTypes
import Hummingbird

/// Lets pages of the configured origins use the API from a browser (CORS, in the Fetch standard). Without configured origins, the
/// middleware has no effect.
///
/// The middleware covers the addresses that take a token in a header. The console uses a cookie, and is never covered. No response
/// allows credentials.
struct CrossOrigin: RouterMiddleware {
    typealias Context = APIContext

    let origins: Set<String>

    /// The second segments of covered paths. The first segment is the organization.
    private static let covered: Set<Substring> = ["api", "oauth2", "v2.0", ".well-known", "discovery", "XRMServices"]
    private static let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
    private static let requestHeaders = [
        "Accept", "Authorization", "CallerObjectId", "Consistency", "Content-Type", "If-Match", "If-None-Match",
        "MSCRM.BypassBusinessLogicExecution", "MSCRM.BypassBusinessLogicExecutionStepIds", "MSCRM.BypassCustomPluginExecution",
        "MSCRM.MergeLabels", "MSCRM.SolutionUniqueName", "MSCRM.SuppressCallbackRegistrationExpanderJob",
        "MSCRM.SuppressDuplicateDetection", "MSCRMCallerID",
        "OData-MaxVersion", "OData-Version", "Prefer", "SOAPAction", "x-ms-client-request-id",
    ].joined(separator: ", ")
    private static let responseHeaders = [
        "Allow", "ETag", "Location", "OData-EntityId", "OData-Version", "Preference-Applied", "Retry-After", "WWW-Authenticate",
        "x-ms-service-request-id",
    ].joined(separator: ", ")
    /// Seconds for which a browser may cache the response to a preflight request.
    private static let lifetime = "600"

    func handle(_ request: Request, context: Context, next: (Request, Context) async throws -> Response) async throws -> Response {
        guard !origins.isEmpty else { return try await next(request, context) }
        let segments = context.path.split(separator: "/", maxSplits: 2)
        guard segments.count > 1, Self.covered.contains(segments[1]) else { return try await next(request, context) }
        let origin = request.headers[.origin].flatMap { origins.contains($0) ? $0 : nil }
        var response: Response
        if let origin, request.method == .options, request.headers[.accessControlRequestMethod] != nil {
            response = Response(status: .noContent)
            response.headers[.accessControlAllowOrigin] = origin
            response.headers[.accessControlAllowMethods] = Self.methods
            response.headers[.accessControlAllowHeaders] = Self.requestHeaders
            response.headers[.accessControlMaxAge] = Self.lifetime
        } else {
            response = try await next(request, context)
            if let origin {
                response.headers[.accessControlAllowOrigin] = origin
                response.headers[.accessControlExposeHeaders] = Self.responseHeaders
            }
        }
        // A cache must not return the response for one origin to pages of another origin.
        response.headers.append(HTTPField(name: .vary, value: "Origin"))
        return response
    }
}
