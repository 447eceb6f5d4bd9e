import Authentication
import HTTPTypes
import Hummingbird

/// Responds without the router to the most frequent requests: requests to the data API and to the Organization service. The result
/// is the same as with the router.
struct DirectResponder: HTTPResponder {
    typealias Context = APIContext

    /// The part of the service that a request is for.
    enum Target: Equatable {
        /// The data API, with the version in the path.
        case data(version: String)
        case organizationService
    }

    let crossOrigin: CrossOrigin
    let requests: RequestMiddleware
    let data: @Sendable (Request, APIContext) async throws -> APIResponse
    let organizationService: @Sendable (Request, APIContext) async throws -> APIResponse

    /// The supported versions, as in the path. Further numbers may follow, such as in `v9.2.21051.00140`.
    private static let versions = ["v9.0", "v9.1", "v9.2"]
    /// Methods that the routes handle. If an address does not accept another method, the data API refuses the request, and lists
    /// the methods that the address accepts.
    private static let methodsOfRoutes: Set<HTTPRequest.Method> = [.head, .options]
    private static let root: StaticString = "/api/data/"
    private static let service: StaticString = "/XRMServices/2011/Organization.svc"

    /// The target of a request by its path: the data API for `/{organization}/api/data/{version}` and paths below it, or the
    /// Organization service.
    ///
    /// - Returns: Nil for any other path, and for requests that the routes handle: HEAD, OPTIONS, and paths with empty segments.
    static func target(of request: Request, _ context: APIContext) -> Target? {
        guard let organization = context.address?.organization, !methodsOfRoutes.contains(request.method) else { return nil }
        var rest = context.path.utf8[...]
        guard rest.popFirst() == UInt8(ascii: "/"), rest.starts(with: organization.utf8) else { return nil }
        rest = rest.dropFirst(organization.utf8.count)
        if root.withUTF8Buffer({ rest.starts(with: $0) }) {
            let version = rest.dropFirst(root.utf8CodeUnitCount).prefix { $0 != UInt8(ascii: "/") }
            return isVersion(version) ? Target.data(version: String(Substring(version))) : nil
        }
        guard request.method == .post, service.withUTF8Buffer({ rest.starts(with: $0) }) else { return nil }
        let end = rest.dropFirst(service.utf8CodeUnitCount)
        return end.isEmpty || end.elementsEqual("/web".utf8) ? .organizationService : nil
    }

    /// Whether a segment of a path is a supported version.
    static func isVersion(_ segment: Substring.UTF8View) -> Bool {
        guard let known = versions.first(where: { segment.starts(with: $0.utf8) }) else { return false }
        let rest = segment.dropFirst(known.utf8.count)
        guard rest.first == UInt8(ascii: ".") else { return rest.isEmpty }
        let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
        return rest.count <= 64
            && rest.dropFirst().split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
                .allSatisfy { !$0.isEmpty && $0.allSatisfy(digits.contains) }
    }

    func respond(to request: Request, context: APIContext) async throws -> Response {
        try await crossOrigin.handle(request, context: context) { request, context in
            try await requests.handle(request, context: context) { request, context in
                let answer = context.target == .organizationService ? organizationService : data
                return try await answer(request, context).response
            }
        }
    }
}
