import ArgumentParser
import Authentication
import CellCrypto
import Console
import Diagnostics
import Email
import Foundation
import KeyManagement
import Logging
import NIOCore
import NIOPosix
import Organizations
import PostgresClient
import ServiceLifecycle
import Tenancy
import UnixSignals
import WebAPI

/// The running service: the HTTPS server and, if configured, the listener without TLS.
struct Service: Sendable {
    let settings: Settings
    let logger: Logger

    /// Serves until SIGINT or SIGTERM, then lets running requests finish.
    ///
    /// - Parameters:
    ///   - companion: A service that ends before this one.
    ///   - onRunning: Called once both listeners accept connections.
    func run(
        allowSuperuser: Bool = false, beside companion: (any ServiceLifecycle.Service)? = nil,
        onRunning: @escaping @Sendable () async -> Void = {}
    ) async throws {
        // Tasks run on the event loops, so that a request changes threads only for the database. Nothing blocks there: PostgreSQL
        // and long computations have separate threads.
        _ = NIOSingletons.unsafeTryInstallSingletonPosixEventLoopGroupAsConcurrencyGlobalExecutor()
        if !SecretMemory.isLocked {
            logger.warning("keys may be swapped out: RLIMIT_MEMLOCK is too small to lock their memory")
        }
        try CryptoLibrary.selfTest()
        let certificates = try ServerCertificates(settings)
        let all = settings.allDatabases
        let names = all.count > 1 ? all.map(\.name) : nil
        let surroundings = ServedDatabase.Surroundings(
            logger: logger, allowsSuperuser: allowSuperuser,
            providers: OpenIDProviders(authorityFile: settings.issuerAuthorityFile), certificates: certificates,
            places: names.map(OrganizationPlaces.init))
        let databases = all.map { ServedDatabase($0, settings, surroundings) }
        guard let first = try await ServedDatabase.open(databases, logger).first?.opened else { return }
        logger.notice(
            "starting",
            metadata: [
                "version": "\(Program.configuration.version)", "pid": "\(getpid())", "settings": "\(settings.file)",
                "kek_id": "\(first.deployment.kek.id)",
            ])
        let activated = try ActivatedSockets.take()
        let isPlain = settings.httpPort != nil || activated.http != nil
        let isLocal = settings.socketPath != nil || activated.unix != nil
        let running = Countdown(1 + (isPlain ? 1 : 0) + (isLocal ? 1 : 0), then: onRunning)
        try checkPorts(activated)
        // Before a socket has its mode, only the program's user may connect.
        if settings.socketPath != nil { umask(0o077) }
        let api = WebAPI(
            first.served, mail: first.mail, tokens: first.tokens, limits: settings.limits, places: surroundings.places,
            logger: logger, pages: first.console.add)
        let figures = DeploymentFigures(databases: names)
        serve(databases, api, figures)
        var services = try listeners(api, certificates, activated, running)
        if let port = settings.metricsPort {
            services.append(
                MetricsServer.application(host: settings.metricsHost, port: port, logger: logger) { text in
                    api.write(to: &text)
                    certificates.write(to: &text)
                    await figures.write(to: &text)
                })
        }
        services.append(CertificateReload(certificates: certificates, logger: logger))
        // Added last, so that they end first. Waiting requests must not hold up the servers.
        services += databases
        if settings.drainSeconds > 0 { services.append(Drain(api: api, duration: .seconds(settings.drainSeconds))) }
        if let companion { services.append(companion) }
        try await ServiceGroup(
            configuration: .init(services: services, gracefulShutdownSignals: [.sigint, .sigterm], logger: logger)
        ).run()
        if activated.unix == nil { settings.unixSocket?.remove() }
        for database in databases { await database.close() }
        logger.notice("stopped")
    }

    /// Adds the reachable databases, and each of the others once it is reachable.
    private func serve(_ databases: [ServedDatabase], _ api: WebAPI, _ figures: DeploymentFigures) {
        let serve: @Sendable (ServedDatabase, ServedDatabase.Opened) -> Void = { database, opened in
            api.serve(database.name, opened.served, mail: opened.mail, tokens: opened.tokens, pages: opened.console.add)
            figures.add(database.name, opened.deployment)
        }
        for database in databases {
            if let opened = database.opened { serve(database, opened) }
            database.whenReached(serve)
        }
    }

    /// The listeners for clients, on systemd's sockets or those in the settings.
    private func listeners(
        _ api: WebAPI, _ certificates: ServerCertificates, _ activated: ActivatedSockets, _ running: Countdown
    ) throws -> [any ServiceLifecycle.Service] {
        let authorities = try ServerCertificate.clientAuthorities(settings)
        let onHTTPS = listening("https", running)
        var services: [any ServiceLifecycle.Service] = []
        if let socket = activated.https {
            services.append(
                try api.server(
                    on: socket, identities: certificates.identities, clientAuthorities: authorities, onRunning: onHTTPS))
        } else {
            services.append(
                try api.server(
                    host: settings.httpsHost, port: settings.httpsPort, identities: certificates.identities,
                    clientAuthorities: authorities, onRunning: onHTTPS))
        }
        if let socket = activated.http {
            services.append(api.plainServer(on: socket, onRunning: listening("http", running)))
        } else if let port = settings.httpPort {
            services.append(api.plainServer(host: settings.httpHost, port: port, onRunning: listening("http", running)))
        }
        let onUnix = listening("unix", running)
        if let socket = activated.unix {
            services.append(api.plainServer(on: socket, onRunning: onUnix))
        } else if let socket = settings.unixSocket {
            services.append(
                api.socketServer(path: socket.path) {
                    socket.open()
                    await onUnix(0)
                })
        }
        return services
    }

    /// Called once a listener accepts connections.
    private func listening(_ scheme: String, _ running: Countdown) -> @Sendable (Int) async -> Void {
        let logger = logger
        return { port in
            logger.notice("listening", metadata: ["scheme": "\(scheme)", "port": "\(port)"])
            await running.count()
        }
    }

    private func checkPorts(_ activated: ActivatedSockets) throws {
        if activated.unix == nil { try settings.unixSocket?.check() }
        guard activated.https != nil || Port.isFree(settings.httpsPort, on: settings.httpsHost) else {
            throw StartError.portTaken("https.port", settings.httpsPort)
        }
        if let port = settings.metricsPort, !Port.isFree(port, on: settings.metricsHost) {
            throw StartError.portTaken("metrics.port", port)
        }
        if activated.http == nil, let port = settings.httpPort, !Port.isFree(port, on: settings.httpHost) {
            throw StartError.portTaken("http.port", port)
        }
    }
}

/// Tells other servers and commands that this server runs and which key-encryption keys it has.
struct Presence: ServiceLifecycle.Service {
    let deployment: Deployment

    func run() async throws {
        let server = ServerPresence(
            host: ProcessInfo.processInfo.hostName, version: Program.configuration.version, kekIDs: deployment.kek.ids)
        try? await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                try? await server.renew(deployment)
                try await Task.sleep(for: .seconds(ServerPresence.renewalSeconds))
            }
        }
        try? await server.end(deployment)
    }
}

/// Drops what interrupted changes and long readers left, if there may be something: at the start, and every 15 seconds.
struct Sweeper: ServiceLifecycle.Service {
    let deployment: Deployment

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            // No rest at first: a server that swept an organization just now may have left something there when it was killed.
            var rest = Duration.zero
            while !Task.isCancelled {
                await deployment.sweepLimits()
                await deployment.sweepOrganizations(by: commandLineCaller, restingFor: rest)
                rest = Deployment.sweepInterval
                try await Task.sleep(for: Deployment.sweepInterval)
            }
        }
    }
}

/// Once a second, links the security events of writes into their chains, and reads attested states.
struct EventChainer: ServiceLifecycle.Service {
    let deployment: Deployment

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            var watch = AttestationWatch(deployment)
            while !Task.isCancelled {
                await deployment.chainPendingEvents(by: commandLineCaller)
                try? await watch.look()
                try await Task.sleep(for: .seconds(1))
            }
        }
        // The events of the last second.
        await deployment.chainPendingEvents(by: commandLineCaller)
    }
}

/// Reports that the server is about to stop, and lets it serve until load balancers have noticed.
private struct Drain: ServiceLifecycle.Service {
    let api: WebAPI
    let duration: Duration

    func run() async throws {
        try? await gracefulShutdown()
        api.announceStop()
        try? await Task.sleep(for: duration)
    }
}

/// Detects that another server became the primary.
struct FailoverWatch: ServiceLifecycle.Service {
    let watch: PrimaryWatch

    func run() async throws { await cancelWhenGracefulShutdown { await watch.run() } }
}

/// Wakes routers' requests that wait for work, and ends them before the servers stop.
struct WorkNotices: ServiceLifecycle.Service {
    let mail: MailService
    let conninfo: String

    func run() async throws {
        await withGracefulShutdownHandler {
            await mail.work.run(conninfo: conninfo)
        } onGracefulShutdown: {
            mail.work.close()
        }
    }
}

/// The reason for which the service does not start.
enum StartError: Error, CustomStringConvertible {
    case superuser(String)
    case notMigrated
    case portTaken(String, Int)
    /// The reason for which one of several databases can't be served.
    case database(String, String)
    case organizationsUnknown(String)
    case socketTaken(String)
    case noSocket(String)
    case unusableSocket(String)

    var description: String {
        switch self {
        case .superuser(let name):
            "the database connection is a superuser's (\(name)), and a superuser can switch the database's guards off; connect as "
                + "fieldseal_service, or say --allow-superuser"
        case .portTaken(let setting, let port):
            "port \(port) is taken by another program; end that one, or set \(setting) to another port"
        case .database(let name, let reason): "the database \(name) can't be served: \(reason)"
        case .organizationsUnknown(let name): "the organizations of the database \(name) can't be read; see PostgreSQL's log"
        case .socketTaken(let path):
            "another program listens on \(path); end that one, or set socket.path to another path"
        case .noSocket(let path): "\(path) is a file that is no socket; remove it, or set socket.path to another path"
        case .unusableSocket(let name):
            "systemd gave the socket '\(name)', which the service does not use; it takes stream sockets that listen, with "
                + "FileDescriptorName=https or http, and one unix socket"
        case .notMigrated: "the database is not at this program's version: fieldseal migrate up"
        }
    }
}

/// Calls a closure once, when a count reaches zero.
private actor Countdown {
    private var remaining: Int
    private let action: @Sendable () async -> Void

    init(_ count: Int, then action: @escaping @Sendable () async -> Void) {
        remaining = count
        self.action = action
    }

    func count() async {
        remaining -= 1
        if remaining == 0 { await action() }
    }
}
