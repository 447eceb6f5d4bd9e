import Authentication
import HTTPTypes
import Hummingbird
import Model
import Synchronization
import Tenancy

/// Routes each request to the database of its organization, if a deployment has several.
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
    /// - Parameter context: Gets the reason if the organization is unavailable.
    /// - Returns: Nil if any database's routes can respond: the request names no organization, or an organization that does not
    ///   exist.
    func responder(for request: Request, _ context: inout APIContext) async -> RouterResponder<APIContext>? {
        guard let organization = organization(of: request, context) else { return nil }
        if let database = await places.database(of: organization) {
            if let responder = responders.withLock({ $0[database] }) { return responder }
            context.refusal = .databaseAway
        } else if !places.unread.isEmpty && Organization.isName(organization) || places.isInTransit(organization) {
            // The organization may be in a database that was not reachable yet, or it is being moved.
            context.refusal = .databaseAway
        }
        return nil
    }

    /// The first segment of an older Discovery address. The segment looks like an organization's name, but is not one.
    private static let olderDiscovery = "xrmservices"

    private func organization(of request: Request, _ context: APIContext) -> String? {
        // Discovery at the root uses the organization of the token. The first page of the console redirects to the organization
        // that the user entered.
        if request.uri.path == "/" {
            return request.uri.queryParameters["organization"].map { String($0).trimmed.lowercased() }
        }
        guard let name = context.address?.organization, ServiceAddresses.canBeRoot(name), name != Self.olderDiscovery else {
            return WebAPI.organization(ofTokenIn: request, addresses)
        }
        return ServiceAddresses.isShared(name) ? nil : name
    }
}
