import Authentication
import HTTPTypes
import Hummingbird
import Model
import Tenancy

/// Refuses the requests of organizations whose database is unavailable, in the form of errors that the address has. The
/// console's pages refuse theirs themselves.
struct RefusedOrganizations: RouterMiddleware {
    typealias Context = APIContext

    func handle(_ request: Request, context: Context, next: (Request, Context) async throws -> Response) async throws -> Response {
        if let refusal = context.refusal, request.headers[.accept]?.contains("text/html") != true { throw refusal }
        return try await next(request, context)
    }
}
