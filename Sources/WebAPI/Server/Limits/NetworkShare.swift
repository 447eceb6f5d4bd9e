import Hummingbird
import PostgresClient

/// Counts requests without a client's token, such as sign-ins, for their network.
struct NetworkShare: RouterMiddleware {
    typealias Context = APIContext

    let quota: RequestQuota

    func handle(_ request: Request, context: Context, next: (Request, Context) async throws -> Response) async throws -> Response {
        let borrower = PoolBorrower.network(context.network)
        try quota.begin(borrower)
        defer { quota.end(borrower) }
        return try await PoolBorrower.$current.withValue(borrower) { try await next(request, context) }
    }
}
