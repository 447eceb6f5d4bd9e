import Authentication
import CellCrypto
import Console
import Diagnostics
import Email
import Foundation
import Logging
import PostgresClient
import ServiceLifecycle
import Synchronization
import Tenancy
import WebAPI

/// One database of the deployment as a server works on it: from the moment at which it can be reached.
final class ServedDatabase: ServiceLifecycle.Service {
    /// What a server has of a database that it reached.
    struct Opened: Sendable {
        let deployment: Deployment
        /// The same for requests.
        let served: Deployment
        let mail: MailService
        let tokens: TokenIssuer
        let console: Console
        /// Where security events are shipped to; nil for nowhere.
        let events: (any EventReceiver)?
    }

    /// What all databases of a server share.
    struct Surroundings: Sendable {
        let logger: Logger
        let allowsSuperuser: Bool
        let providers: OpenIDProviders
        let certificates: ServerCertificates
        /// Nil where there is one database.
        let places: OrganizationPlaces?
    }

    let name: String
    /// With this database for the one that they name.
    private let settings: Settings
    private let surroundings: Surroundings
    private let state = Mutex<Opened?>(nil)
    private let onReached = Mutex<(@Sendable (ServedDatabase, Opened) -> Void)?>(nil)

    /// Connections for short statements, beside those of the pool. Lookups share most where there is one; of those for writes,
    /// more share less of each round trip, fewer share more of PostgreSQL's waiting for the disk.
    private static let sharedReaders = 1
    private static let sharedWriters = 4
    /// Between two attempts at reaching a database that was away when the server started.
    private static let retryInterval = Duration.seconds(2)

    init(_ database: Settings.Database, _ settings: Settings, _ surroundings: Surroundings) {
        name = database.name
        self.settings = settings.selecting(database)
        self.surroundings = surroundings
    }

    /// Has something called once the database is reached that was away when the server started.
    func whenReached(_ body: @escaping @Sendable (ServedDatabase, Opened) -> Void) { onReached.withLock { $0 = body } }

    var opened: Opened? { state.withLock(\.self) }

    /// Connects, and checks that the service may run on the database.
    ///
    /// - Throws: ``PostgresError`` when the database can't be reached; ``StartError`` and others when it can't be served.
    func open() async throws {
        let statementLimit = Duration.seconds(settings.statementSeconds)
        let pool = ConnectionPool(
            .init(
                conninfo: settings.database, limit: settings.connections,
                share: settings.clientConnections ?? max(1, settings.connections / 2), statementLimit: statementLimit))
        do {
            let kek = try await KeyEncryptionKeyCheck.check(try settings.startingKeyEncryptionKey(), on: pool)
            let deployment = Deployment(
                conninfo: settings.database, pool: pool, kek: kek, policy: settings.policy, sharedReaders: Self.sharedReaders,
                sharedWriters: Self.sharedWriters, statementLimit: statementLimit)
            try await check(deployment)
            let opened = try await compose(deployment)
            state.withLock { $0 = opened }
        } catch {
            await pool.close()
            throw error
        }
    }

    private func compose(_ deployment: Deployment) async throws -> Opened {
        var served = deployment.refusingSuspended
        if let places = surroundings.places {
            served = served.placed(among: places, as: name)
            places.add(name) { try await deployment.organizationList() }
            guard await places.refresh(name) else { throw StartError.organizationsUnknown(name) }
        }
        let tokens = TokenIssuer(served, addresses: settings.addresses, providers: surroundings.providers)
        try await tokens.prepare()
        let certificates = surroundings.certificates
        let console = try Console(
            served, baseURL: settings.baseURL, providers: surroundings.providers,
            doctor: Doctor(
                deployment, administrativeConninfo: settings.migrationDatabase, kekFile: settings.kekSource.file,
                kekCopyFile: settings.kekCopyFile, besides: { CertificateFindings.findings(certificates.current) }),
            retention: RetentionRules(
                eventDays: settings.eventDays, auditDays: settings.auditDays, emailDays: settings.emailDays))
        return Opened(
            deployment: deployment, served: served,
            mail: MailService(tokens: try settings.mailTokens(), sendingAttempts: settings.mailAttempts), tokens: tokens,
            console: console, events: try settings.eventReceiver())
    }

    private func check(_ deployment: Deployment) async throws {
        try await PoolerCheck.refuseTransactionPooling(settings.database)
        let (isSuperuser, role) = try await deployment.pool.withConnection { connection in
            let row = try connection.query("SELECT rolsuper, rolname FROM pg_roles WHERE rolname = current_user")[0]
            return (try row.decode(0, as: Bool.self), try row.decode(1, as: String.self))
        }
        guard !isSuperuser || surroundings.allowsSuperuser else { throw StartError.superuser(role) }
        do {
            guard try await deployment.isMigrated() else { throw StartError.notMigrated }
        } catch let error as PostgresError where ["42P01", "3F000", "42501"].contains(error.sqlState) {
            throw StartError.notMigrated
        }
    }

    /// Works on the database until the server is stopped, from when it can be reached on.
    func run() async throws {
        if opened == nil {
            try? await cancelWhenGracefulShutdown { try await self.reach() }
            if let opened { onReached.withLock(\.self)?(self, opened) }
        }
        guard let opened else { return }
        await withTaskGroup(of: Void.self) { group in
            for service in services(opened) { group.addTask { try? await service.run() } }
        }
    }

    /// Tries until the database can be reached.
    private func reach() async throws {
        var last = ""
        while opened == nil {
            try await Task.sleep(for: Self.retryInterval)
            do {
                try await open()
                surroundings.logger.notice("database reached", metadata: ["database": "\(name)"])
            } catch {
                // Each reason once.
                if "\(error)" != last {
                    surroundings.logger.error("database not served", metadata: ["database": "\(name)", "reason": "\(error)"])
                }
                last = "\(error)"
            }
        }
    }

    private func services(_ opened: Opened) -> [any ServiceLifecycle.Service] {
        var services: [any ServiceLifecycle.Service] = [
            Presence(deployment: opened.deployment), Sweeper(deployment: opened.deployment),
            EventChainer(deployment: opened.deployment), WorkNotices(mail: opened.mail, conninfo: settings.database),
        ]
        if let receiver = opened.events {
            services.append(EventShipper(deployment: opened.deployment, receiver: receiver, logger: surroundings.logger))
        }
        if let watch = PrimaryWatch(conninfo: settings.database) { services.append(FailoverWatch(watch: watch)) }
        if let places = surroundings.places {
            services.append(OrganizationWatch(places: places, name: name, conninfo: settings.database))
        }
        return services
    }

    func close() async { await opened?.deployment.close() }

    /// Opens all databases at the same time.
    ///
    /// - Returns: Those that were reached, in their order: at least one.
    /// - Throws: Why one can't be served though it was reached; or why none was reached.
    static func open(_ databases: [ServedDatabase], _ logger: Logger) async throws -> [ServedDatabase] {
        let failures = await withTaskGroup(of: (name: String, error: (any Error)?).self) { group in
            for database in databases {
                group.addTask {
                    do {
                        try await database.open()
                        return (database.name, nil)
                    } catch {
                        return (database.name, error)
                    }
                }
            }
            return await group.reduce(into: [String: any Error]()) { $0[$1.name] = $1.error }
        }
        let opened = databases.filter { $0.opened != nil }
        for (name, error) in failures.sorted(by: { $0.key < $1.key }) {
            guard !opened.isEmpty, (error as? PostgresError)?.isConnectionLoss == true else {
                for database in opened { await database.close() }
                throw databases.count == 1 ? error : StartError.database(name, "\(error)")
            }
            logger.error("database not served", metadata: ["database": "\(name)", "reason": "\(error)"])
        }
        return opened
    }
}
