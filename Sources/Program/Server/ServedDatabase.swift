import Authentication
import CellCrypto
import Console
import Diagnostics
import Email
import Foundation
import Logging
import Organizations
import PostgresClient
import ServiceLifecycle
import Synchronization
import Tenancy
import WebAPI

/// One database of the deployment in a server, from the time at which it is reachable.
final class ServedDatabase: ServiceLifecycle.Service {
    /// The objects for a reachable database.
    struct Opened: Sendable {
        let deployment: Deployment
        /// The deployment for requests. It refuses suspended organizations, and organizations that are in another database.
        let served: Deployment
        let mail: MailService
        let tokens: TokenIssuer
        let console: Console
        /// The receiver of security events; nil for none.
        let events: (any EventReceiver)?
    }

    /// The objects that all databases of a server share.
    struct Surroundings: Sendable {
        let logger: Logger
        let allowsSuperuser: Bool
        let providers: OpenIDProviders
        let certificates: ServerCertificates
        /// The organizations of all databases; nil if there is only one database.
        let places: OrganizationPlaces?
    }

    let name: String
    /// The settings, with this database selected.
    private let settings: Settings
    private let surroundings: Surroundings
    private let state = Mutex<Opened?>(nil)
    private let keyProblem = Mutex<String?>(nil)
    private let onReached = Mutex<(@Sendable (ServedDatabase, Opened) -> Void)?>(nil)

    /// The number of shared connections for short statements. One connection batches lookups best. With more connections for
    /// writes, fewer writes share a round trip. With fewer connections for writes, more writes wait for the disk.
    private static let sharedReaders = 1
    private static let sharedWriters = 4
    /// The pause between two attempts at reaching a database that was unreachable at the start.
    private static let retryInterval = Duration.seconds(2)
    /// The pause if the database's key-encryption key could not be used. This pause is longer, because a program may have to print
    /// the key.
    private static let keyRetryInterval = Duration.seconds(10)

    init(_ database: Settings.Database, _ settings: Settings, _ surroundings: Surroundings) {
        name = database.name
        self.settings = settings.selecting(database)
        self.surroundings = surroundings
    }

    /// Calls a closure when a database becomes reachable that was unreachable at the start.
    func whenReached(_ body: @escaping @Sendable (ServedDatabase, Opened) -> Void) { onReached.withLock { $0 = body } }

    var opened: Opened? { state.withLock(\.self) }

    /// Why the database is not served, if its key-encryption key is the reason. Clients may read this text.
    var absence: String? { keyProblem.withLock(\.self) }

    /// Connects, and checks that the service may use the database.
    ///
    /// - Throws: ``PostgresError`` when the database is unreachable; ``StartError`` and other errors when the database can't be
    ///   served.
    func open() async throws {
        let statementLimit = Duration.seconds(settings.statementSeconds)
        func limits(_ conninfo: String) -> ConnectionPool.Configuration {
            .init(
                conninfo: conninfo, limit: settings.connections,
                share: settings.clientConnections ?? max(1, settings.connections / 2), statementLimit: statementLimit)
        }
        let pool = ConnectionPool(limits(settings.database))
        let standby =
            settings.standbyDatabase.isEmpty
            ? nil
            : Standby(
                limits(settings.standbyDatabase), mark: ServerPresence.mark, patience: .milliseconds(settings.standbyMilliseconds))
        do {
            // The program that prints the key may take half a minute. Meanwhile the server serves the other databases.
            let own = try await BlockingWork.run { [settings] in try settings.keyEncryptionKey() }
            let kek = try await KeyEncryptionKeyCheck.check(own, on: pool)
            let deployment = Deployment(
                conninfo: settings.database, pool: pool, kek: kek, policy: settings.policy, sharedReaders: Self.sharedReaders,
                sharedWriters: Self.sharedWriters, standby: standby, statementLimit: statementLimit)
            try await check(deployment)
            let opened = try await compose(deployment)
            state.withLock { $0 = opened }
            keyProblem.withLock { $0 = nil }
        } catch {
            keyProblem.withLock { $0 = Self.keyProblem(error) }
            await pool.close()
            throw error
        }
    }

    /// Whether the other databases are served when this one's key-encryption key can't be used.
    private var mayLackKey: Bool { !settings.databaseKeks.isEmpty }

    /// What clients may read of an error of the key-encryption key; nil for another error. Problems of PKCS#11 tokens are not
    /// included, because the server does not start with such a problem.
    private static func keyProblem(_ error: any Error) -> String? {
        switch error {
        case is WrongKeyEncryptionKey, is RetiredKeyEncryptionKey: "\(error)"
        case is KeyEncryptionKeyFile.Problem, is KeyEncryptionKeyCommand.Problem:
            "its key-encryption key can't be read; see the server's log"
        default: nil
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
        let mail = MailService(tokens: try settings.mailTokens(), sendingAttempts: settings.mailAttempts)
        let console = try Console(
            served, mail: mail.tokens, baseURL: settings.baseURL, providers: surroundings.providers,
            doctor: Doctor(
                deployment, administrativeConninfo: settings.migrationDatabase, kekFile: settings.kekSource.file,
                kekCopyFile: settings.kekCopy, besides: { CertificateFindings.findings(certificates.current) }),
            retention: RetentionRules(
                eventDays: settings.eventDays, auditDays: settings.auditDays, emailDays: settings.emailDays))
        return Opened(
            deployment: deployment, served: served,
            mail: mail, tokens: tokens,
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
        } catch let error as PostgresError where [.undefinedTable, .undefinedSchema].contains(error.state) {
            throw StartError.notMigrated
        } catch let error as PostgresError where error.state == .insufficientPrivilege {
            throw StartError.rightsMissing(role, error.message)
        }
    }

    /// Runs the background work on the database, from the time at which it is reachable until the server stops.
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

    /// Retries until the database is reachable.
    private func reach() async throws {
        var last = ""
        while opened == nil {
            try await Task.sleep(for: absence == nil ? Self.retryInterval : Self.keyRetryInterval)
            do {
                try await open()
                surroundings.logger.notice("database reached", metadata: ["database": "\(name)"])
            } catch {
                // The same reason is logged only once, although every attempt fails with it.
                if "\(error)" != last {
                    surroundings.logger.error("database not served", metadata: ["database": "\(name)", "error": "\(error)"])
                }
                last = "\(error)"
            }
        }
    }

    private func services(_ opened: Opened) -> [any ServiceLifecycle.Service] {
        var services: [any ServiceLifecycle.Service] = [
            Presence(deployment: opened.deployment, logger: surroundings.logger),
            Sweeper(deployment: opened.deployment, logger: surroundings.logger),
            EventChainer(deployment: opened.deployment, logger: surroundings.logger),
            AuditSealing(deployment: opened.deployment, seconds: settings.sealSeconds, logger: surroundings.logger),
            WorkNotices(mail: opened.mail, conninfo: settings.database),
            RefusalLog(deployment: opened.deployment, logger: surroundings.logger),
        ]
        if let receiver = opened.events {
            services.append(EventShipper(deployment: opened.deployment, receiver: receiver, logger: surroundings.logger))
        }
        if let standby = opened.deployment.standby { services.append(StandbyWatch(standby: standby)) }
        if let watch = PrimaryWatch(conninfo: settings.database) { services.append(FailoverWatch(watch: watch)) }
        if let places = surroundings.places {
            services.append(OrganizationWatch(places: places, name: name, conninfo: settings.database))
        }
        return services
    }

    func close() async { await opened?.deployment.close() }

    /// Ends the statements of running requests. The requests get an error.
    func endStatements() async { await opened?.deployment.endStatements() }

    /// Opens all databases at the same time.
    ///
    /// - Returns: The reachable databases in order: at least one.
    /// - Throws: The reason for which a reachable database can't be served, or for which no database is reachable. If each database
    ///   has another key-encryption key, a database whose key can't be used counts as unreachable.
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
        let lacking = Set(databases.filter { $0.mayLackKey && $0.absence != nil }.map(\.name))
        for (name, error) in failures.sorted(by: { $0.key < $1.key }) {
            guard !opened.isEmpty, (error as? PostgresError)?.isConnectionLoss == true || lacking.contains(name) else {
                for database in opened { await database.close() }
                throw databases.count == 1 ? error : StartError.database(name, error)
            }
            logger.error("database not served", metadata: ["database": "\(name)", "error": "\(error)"])
        }
        return opened
    }
}
