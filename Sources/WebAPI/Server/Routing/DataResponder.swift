import Authentication
import HTTPTypes
import Hummingbird

/// Responds to requests of the data API, which are the most frequent, without a search among the routes. The result is the same as
/// with the routes.
struct DataResponder: HTTPResponder {
    typealias Context = APIContext

    let crossOrigin: CrossOrigin
    let requests: ErrorMiddleware
    let answer: @Sendable (Request, APIContext) async throws -> APIAnswer

    /// The supported versions, as in the path.
    static let versions = ["v9.0", "v9.1", "v9.2"]
    private static let methods: Set<HTTPRequest.Method> = [.get, .post, .patch, .put, .delete]
    private static let root: StaticString = "/api/data/"

    /// The version in a path `/{organization}/api/data/{version}`, or below it.
    ///
    /// - Returns: Nil for any other path, and for requests that the routes handle: other methods, and paths with empty segments.
    static func version(of request: Request, _ context: APIContext) -> String? {
        guard let organization = context.address?.organization, methods.contains(request.method) else { return nil }
        var rest = context.path.utf8[...]
        guard rest.popFirst() == UInt8(ascii: "/"), rest.starts(with: organization.utf8) else { return nil }
        rest = rest.dropFirst(organization.utf8.count)
        guard root.withUTF8Buffer({ rest.starts(with: $0) }) else { return nil }
        let version = rest.dropFirst(root.utf8CodeUnitCount).prefix { $0 != UInt8(ascii: "/") }
        return versions.first { version.elementsEqual($0.utf8) }
    }

    func respond(to request: Request, context: APIContext) async throws -> Response {
        try await crossOrigin.handle(request, context: context) { request, context in
            try await requests.handle(request, context: context) { request, context in
                try await answer(request, context).response
            }
        }
    }
}
