package import Foundation
import Model
package import PostgresClient
import Synchronization

/// Finds the database that has an organization, for a server of several databases.
///
/// Each database has a list, which is read again when it changes. If two databases have an organization with the same name, the
/// organization that was registered first is used.
package final class OrganizationPlaces: Sendable {
    /// The registration times of a database's organizations, by name.
    package typealias List = [String: Date]
    /// Reads the list of one database.
    package typealias Reader = @Sendable () async throws -> List

    private struct State {
        var lists: [String: List] = [:]
        /// Databases that did not respond at the last check.
        var away: Set<String> = []
        var readers: [String: Reader] = [:]
        /// The database of each organization.
        var places: [String: String] = [:]
        /// For each organization that was in a list and is in none now: the time at which it disappeared.
        var left: [String: ContinuousClock.Instant] = [:]
        /// The time at which the lists were last read for an unknown name.
        var lastSearch: ContinuousClock.Instant?

        /// Finds the database of each organization again. Called after each change of a list.
        mutating func arrange() {
            var places: [String: (database: String, since: Date)] = [:]
            for (database, list) in lists.sorted(by: { $0.key < $1.key }) {
                for (name, since) in list where places[name].map({ since < $0.since }) ?? true { places[name] = (database, since) }
            }
            let now = ContinuousClock.now
            left = left.filter { now - $0.value < OrganizationPlaces.transit && places[$0.key] == nil }
            for name in self.places.keys where places[name] == nil { left[name] = now }
            self.places = places.mapValues(\.database)
        }
    }

    /// The names of all databases.
    package let databases: [String]
    private let state = Mutex(State())
    private let reads = SingleFlight<String, Bool>()

    /// The shortest time between two reads of the lists for unknown names. The interval limits the cost of requests with such
    /// names.
    private static let searchInterval = Duration.seconds(1)
    /// For this time, an organization that disappeared from a database's list may still appear in the list of another database. A
    /// move needs the time, because the lists are read at different times.
    private static let transit = Duration.seconds(10)

    package init(databases: [String]) { self.databases = databases }

    /// The list in rows of names and registration times. Without its constraints, the table may have several rows of a name.
    package static func list(_ rows: PostgresResult) throws -> List {
        try Dictionary(rows.map { (try $0.decode(0), try $0.decode(1, as: Date.self)) }, uniquingKeysWith: { min($0, $1) })
    }

    /// Adds a database that is reachable now.
    package func add(_ database: String, _ reader: @escaping Reader) { state.withLock { $0.readers[database] = reader } }

    /// Reads the list of a database again.
    ///
    /// - Returns: Whether the list could be read.
    @discardableResult
    package func refresh(_ database: String) async -> Bool {
        guard let reader = state.withLock({ $0.readers[database] }) else { return false }
        let isRead = try? await reads.value(of: database) { [self] in
            let list = try? await reader()
            state.withLock { state in
                guard let list else { return _ = state.away.insert(database) }
                state.away.remove(database)
                guard state.lists[database] != list else { return }
                state.lists[database] = list
                state.arrange()
            }
            return list != nil
        }
        return isRead ?? false
    }

    /// The database of an organization. For an unknown name the lists are read again, at most once a second.
    ///
    /// - Returns: Nil when no known list has the organization.
    package func database(of organization: String) async -> String? {
        if let place = state.withLock({ $0.places[organization] }) { return place }
        guard Organization.isName(organization) else { return nil }
        let asked = state.withLock { state -> [String] in
            let now = ContinuousClock.now
            if let last = state.lastSearch, now - last < Self.searchInterval { return [] }
            state.lastSearch = now
            // An unreachable database would delay the request, so it is not asked.
            return state.readers.keys.filter { !state.away.contains($0) }
        }
        guard !asked.isEmpty else { return nil }
        await withTaskGroup(of: Void.self) { group in
            for database in asked { group.addTask { _ = await self.refresh(database) } }
        }
        return state.withLock { $0.places[organization] }
    }

    /// Databases whose list was never read. These databases may have any organization.
    package var unread: [String] { state.withLock { state in databases.filter { state.lists[$0] == nil } } }

    /// Whether an organization disappeared from all lists within the last ``transit``, as during a move.
    package func isInTransit(_ organization: String) -> Bool {
        state.withLock { state in
            guard state.places[organization] == nil, let since = state.left[organization] else { return false }
            return .now - since < Self.transit
        }
    }

    /// Organizations that are in several databases, with the names of these databases.
    package var duplicates: [String: [String]] {
        let lists = state.withLock(\.lists)
        let all = lists.flatMap { database, list in list.keys.map { ($0, database) } }
        return Dictionary(grouping: all, by: \.0).mapValues { $0.map(\.1).sorted() }.filter { $0.value.count > 1 }
    }

    /// Refuses an organization that a database does not have, without a query.
    ///
    /// - Throws: ``FieldsealError``. The error says to retry if another database has the organization or may have it.
    func require(_ organization: String, in database: String) throws {
        let (place, unread) = state.withLock { state in
            (state.places[organization], databases.filter { state.lists[$0] == nil })
        }
        if place == database { return }
        if place == nil, unread.isEmpty {
            throw isInTransit(organization) ? Self.moving : FieldsealError.noSuchOrganization(organization)
        }
        throw FieldsealError.databaseAway
    }

    /// Removes an organization from a database's list, because the database does not have it.
    ///
    /// - Returns: The error for the current request. Another database may have the organization meanwhile.
    func lost(_ organization: String, in database: String) -> FieldsealError {
        state.withLock { state in
            guard state.lists[database]?.removeValue(forKey: organization) != nil else { return }
            state.arrange()
            state.lastSearch = nil
        }
        return Self.moving
    }

    private static let moving = FieldsealError(
        .unexpected, "The organization is being moved or was removed. Try again.", retryAfter: 1)
}

extension Deployment {
    /// This deployment as one of several databases. The copy refuses organizations that are in another database.
    package func placed(among places: OrganizationPlaces, as name: String) -> Deployment {
        var copy = self
        copy.place = Place(places: places, name: name)
        return copy
    }

    /// The registration times of organizations in this database, by name. An organization that is being moved away gets a time
    /// far in the future. So as soon as the other database lists the organization too, the other database is used.
    package func organizationList() async throws -> OrganizationPlaces.List {
        try await pool.withConnection { connection in
            let rows = try connection.query(
                """
                SELECT o.name, CASE WHEN m.state = 'moved' THEN '9999-01-01' ELSE o.created_on END
                  FROM config.organization AS o LEFT JOIN config.organization_move AS m USING (organization_id)
                 WHERE m.state IS DISTINCT FROM 'arriving'
                """)
            return try OrganizationPlaces.list(rows)
        }
    }

    /// Throws if this database is one of several, and its list does not have the organization.
    func requirePlace(of organization: String) throws { try place?.places.require(organization, in: place?.name ?? "") }

    /// The error to report in place of `error`. If `error` says that this database does not have the organization, the organization
    /// may have been moved.
    func absence(of organization: String, _ error: FieldsealError) -> FieldsealError {
        guard let place, error.code == .noResource else { return error }
        return place.places.lost(organization, in: place.name)
    }

    /// The place of this database among the deployment's databases.
    struct Place: Sendable {
        let places: OrganizationPlaces
        let name: String
    }
}
