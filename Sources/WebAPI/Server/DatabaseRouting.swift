import Authentication
import HTTPTypes
import Hummingbird
import Model
import Synchronization
import Tenancy

/// Hands each request to the database that has its organization, where a deployment has several.
final class DatabaseRouting: Sendable {
    private let places: OrganizationPlaces
    private let addresses: ServiceAddresses
    private let responders = Mutex<[String: RouterResponder<APIContext>]>([:])

    init(_ places: OrganizationPlaces, addresses: ServiceAddresses) {
        self.places = places
        self.addresses = addresses
    }

    func add(_ database: String, _ responder: RouterResponder<APIContext>) { responders.withLock { $0[database] = responder } }

    /// The routes of the database that has the request's organization.
    ///
    /// - Parameter context: Gets the reason for which the organization can't be asked now.
    /// - Returns: Nil where any database's routes answer: the request is for no organization, or for none that there is.
    func responder(for request: Request, _ context: inout APIContext) async -> RouterResponder<APIContext>? {
        guard let organization = organization(of: request, context) else { return nil }
        if let database = await places.database(of: organization) {
            if let responder = responders.withLock({ $0[database] }) { return responder }
            context.refusal = .databaseAway
        } else if !places.unread.isEmpty && Organization.isName(organization) || places.isInTransit(organization) {
            // It may be in a database that could not be asked yet, or on its way to one.
            context.refusal = .databaseAway
        }
        return nil
    }

    /// The first segment of an address of the Discovery service that is written like an organization's name.
    private static let olderDiscovery = "xrmservices"

    private func organization(of request: Request, _ context: APIContext) -> String? {
        // Discovery at the root is for the organization of the token, and the first page of the console leads to the one that was typed.
        if request.uri.path == "/" {
            return request.uri.queryParameters["organization"].map { String($0).trimmed.lowercased() }
        }
        guard let name = context.address?.organization, ServiceAddresses.canBeRoot(name), name != Self.olderDiscovery else {
            return WebAPI.organization(ofTokenIn: request, addresses)
        }
        return ServiceAddresses.isShared(name) ? nil : name
    }
}

/// Refuses the requests of organizations whose database is away, each in the form of its address. Pages do that themselves.
struct RefusedOrganizations: RouterMiddleware {
    typealias Context = APIContext

    func handle(_ request: Request, context: Context, next: (Request, Context) async throws -> Response) async throws -> Response {
        if let refusal = context.refusal, request.headers[.accept]?.contains("text/html") != true { throw refusal }
        return try await next(request, context)
    }
}
