import Authentication
import HTTPTypes
import Hummingbird
import Model
import Tenancy

/// Refuses requests for organizations whose database is unavailable. Requests of browsers pass, because the console's pages refuse
/// them themselves.
struct RefusedOrganizations: RouterMiddleware {
    typealias Context = APIContext

    func handle(_ request: Request, context: Context, next: (Request, Context) async throws -> Response) async throws -> Response {
        if let refusal = context.refusal, request.headers[.accept]?.contains("text/html") != true { throw refusal }
        return try await next(request, context)
    }
}
