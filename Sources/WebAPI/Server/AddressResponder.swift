import Authentication
import HTTPTypes
import Hummingbird

/// Finds the organization that a request asks, by the host or by the first segment of the path, before the request is routed.
///
/// Routes begin with the organization's name. At the root of a host of its own the name is put before the path, so that every route
/// serves such hosts too.
struct AddressResponder: HTTPResponder {
    typealias Context = APIContext

    let addresses: ServiceAddresses
    let inner: RouterResponder<APIContext>
    /// Where there are several databases: which of them has the organization.
    let databases: DatabaseRouting?

    func respond(to request: Request, context: APIContext) async throws -> Response {
        var (request, context) = resolved(request, context)
        guard let databases else { return try await inner.respond(to: request, context: context) }
        let responder = await databases.responder(for: request, &context) ?? inner
        return try await responder.respond(to: request, context: context)
    }

    /// The request as the routes take it, with the organization's address in its context.
    func resolved(_ request: Request, _ context: APIContext) -> (request: Request, context: APIContext) {
        guard let (address, isAtRoot) = addresses.resolve(authority: request.head.authority, path: request.uri.path[...]) else {
            return (request, context)
        }
        var context = context
        context.address = address
        guard isAtRoot else { return (request, context) }
        var head = request.head
        head.path = "/\(address.organization)\(request.uri.path)\(request.uri.query.map { "?\($0)" } ?? "")"
        return (Request(head: head, body: request.body), context)
    }
}
