import Authentication
import HTTPTypes
import Hummingbird

/// Finds the organization of a request by the host or the first segment of the path, before the request is routed.
///
/// Routes begin with the organization's name. If an organization has its own host, its name is added before the path, so that the
/// same routes serve it.
struct AddressResponder: HTTPResponder {
    typealias Context = APIContext

    let addresses: ServiceAddresses
    let inner: RouterResponder<APIContext>
    /// Responds to the most frequent requests without the router.
    let direct: DirectResponder
    /// Finds the database of the organization, if there are several.
    let databases: DatabaseRouting?

    func respond(to request: Request, context: APIContext) async throws -> Response {
        let (request, resolved) = resolved(request, context)
        var context = resolved
        if let databases {
            let responder = await databases.responder(for: request, &context) ?? inner
            return try await responder.respond(to: request, context: context)
        }
        context.target = DirectResponder.target(of: request, context)
        if context.target != nil {
            return try await direct.respond(to: request, context: context)
        }
        return try await inner.respond(to: request, context: context)
    }

    /// The request with the path that the routes match, and the organization's address in its context.
    func resolved(_ request: Request, _ context: APIContext) -> (request: Request, context: APIContext) {
        var context = context
        context.path = request.uri.path
        guard let (address, isAtRoot) = addresses.resolve(authority: request.head.authority, path: context.path[...]) else {
            return (request, context)
        }
        context.address = address
        guard isAtRoot else { return (request, context) }
        context.path = "/\(address.organization)\(context.path)"
        var head = request.head
        head.path = "\(context.path)\(request.uri.query.map { "?\($0)" } ?? "")"
        return (Request(head: head, body: request.body), context)
    }
}
