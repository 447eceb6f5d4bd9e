import Hummingbird
import Model
import PostgresClient

/// Counts requests without a client's token, such as sign-ins, toward the limits of their network.
struct NetworkShare: RouterMiddleware {
    typealias Context = APIContext

    /// Counts a request until its response has been written.
    let begin: @Sendable (PoolBorrower, APIContext) throws(FieldsealError) -> UnreadResponses.Share

    func handle(_ request: Request, context: Context, next: (Request, Context) async throws -> Response) async throws -> Response {
        let borrower = PoolBorrower.network(context.network)
        _ = try begin(borrower, context)
        return try await PoolBorrower.$current.withValue(borrower) { try await next(request, context) }
    }
}
