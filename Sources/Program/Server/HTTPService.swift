import ArgumentParser
import Authentication
import CellCrypto
import Console
import Diagnostics
import Foundation
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Tenancy
import UnixSignals
import WebAPI

/// The running service: the HTTPS server and, if configured, the listener without TLS.
struct HTTPService: Sendable {
    let settings: Settings
    let logger: Logger

    /// Serves until SIGINT or SIGTERM, then lets running requests finish.
    ///
    /// - Parameters:
    ///   - companion: A service that ends before this one.
    ///   - onRunning: Called once all listeners for clients accept connections.
    func run(
        allowSuperuser: Bool = false, with companion: (any ServiceLifecycle.Service)? = nil,
        onRunning: @escaping @Sendable () async -> Void = {}
    ) async throws {
        // Tasks run on the event loops, so that a request changes threads only for the database. Nothing blocks the event loops:
        // PostgreSQL and long computations have separate threads.
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
        logStart(databases)
        let activated = try ActivatedSockets.take()
        let isPlain = settings.httpPort != nil || activated.http != nil
        let isLocal = settings.socketPath != nil || activated.unix != nil
        let running = Countdown(1 + (isPlain ? 1 : 0) + (isLocal ? 1 : 0), then: onRunning)
        try checkSettings(activated)
        // Until the unix socket gets its mode, only the program's user may connect to it.
        if settings.socketPath != nil { umask(0o077) }
        let api = WebAPI(
            first.served, mail: first.mail, tokens: first.tokens, limits: settings.limits, places: surroundings.places,
            absence: { name in databases.first { $0.name == name }?.absence }, logger: logger, pages: first.console.add,
            errorPage: first.console.errorPage)
        let figures = DeploymentFigures(databases: names)
        serve(databases, api, figures)
        let keyFile = KeyFileWatch(settings, logger: logger)
        var services = try listeners(api, certificates, activated, running)
        if let port = settings.metricsPort {
            services.append(
                MetricsServer.application(host: settings.metricsHost, port: port, logger: logger) { text in
                    api.write(to: &text)
                    certificates.write(to: &text)
                    keyFile?.write(to: &text)
                    await figures.write(to: &text)
                })
        }
        services += watches(certificates, keyFile)
        // The services below are added last, so that they end first: waiting requests must not delay the end of the servers.
        services += databases
        services.append(StatementEnd(databases: databases, after: statementEnd))
        if settings.drainSeconds > 0 { services.append(Drain(api: api, duration: .seconds(settings.drainSeconds))) }
        if let companion { services.append(companion) }
        try await ServiceGroup(
            configuration: .init(services: services, gracefulShutdownSignals: [.sigint, .sigterm], logger: logger)
        ).run()
        if activated.unix == nil { settings.unixSocket?.remove() }
        for database in databases { await database.close() }
        logger.notice("stopped")
    }

    private func logStart(_ databases: [ServedDatabase]) {
        let ids = Set(databases.compactMap { $0.opened?.deployment.kek.id }).sorted()
        logger.notice(
            "starting",
            metadata: [
                "version": "\(Program.configuration.version)", "pid": "\(getpid())", "settings": "\(settings.file)",
                "kek_id": "\(ids.joined(separator: ", "))",
            ])
    }

    /// The services that check files regularly.
    private func watches(_ certificates: ServerCertificates, _ keyFile: KeyFileWatch?) -> [any ServiceLifecycle.Service] {
        let watches: [(any ServiceLifecycle.Service)?] = [
            CertificateReload(certificates: certificates, logger: logger), ReplacedProgram(logger: logger), keyFile,
        ]
        return watches.compactMap(\.self)
    }

    /// How long statements may still run after the server has begun to stop.
    private var statementEnd: Duration { .seconds(min(APILimits.endSeconds, settings.statementSeconds + 5)) }

    /// Adds the databases that are reachable now. Adds each other database when it becomes reachable.
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
        let onHTTPS = listening("https", running)
        var services: [any ServiceLifecycle.Service] = []
        if let socket = activated.https {
            services.append(
                try api.server(on: socket, identities: certificates.identities, onRunning: onHTTPS))
        } else {
            services.append(
                try api.server(
                    host: settings.httpsHost, port: settings.httpsPort, identities: certificates.identities,
                    onRunning: onHTTPS))
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

    /// Returns a closure for a listener to call once it accepts connections.
    private func listening(_ scheme: String, _ running: Countdown) -> @Sendable (Int) async -> Void {
        let logger = logger
        return { port in
            logger.notice("listening", metadata: ["scheme": "\(scheme)", "port": "\(port)"])
            await running.count()
        }
    }

    /// Logs files that can't be used, and refuses addresses at which the service can't listen.
    private func checkSettings(_ activated: ActivatedSockets) throws {
        for problem in SettingsFiles(settings).problems {
            logger.error("setting can't be used", metadata: ["error": "\(problem)"])
        }
        if activated.unix == nil { try settings.unixSocket?.check() }
        try Listener.check(
            settings.listeners.filter {
                !($0.setting == "https.port" && activated.https != nil || $0.setting == "http.port" && activated.http != nil)
            })
    }
}

/// Reports that the server is about to stop, and lets it serve until load balancers have noticed.
private struct Drain: ServiceLifecycle.Service {
    let api: WebAPI
    let duration: Duration
    /// How long the server may take to stop after `duration`. This is the package's `TimeoutStopSec`.
    private let afterwards = Duration.seconds(90)

    init(api: WebAPI, duration: Duration) { (self.api, self.duration) = (api, duration) }

    func run() async throws {
        try? await gracefulShutdown()
        SystemdNotice.extended(duration + afterwards).send()
        api.announceStop()
        try? await Task.sleep(for: duration)
    }
}

/// Ends the statements that still run some time after the server began to stop. PostgreSQL may take long to notice a cancel request
/// or a statement timeout, and the server must not wait so long.
private struct StatementEnd: ServiceLifecycle.Service {
    let databases: [ServedDatabase]
    let duration: Duration

    init(databases: [ServedDatabase], after duration: Duration) {
        (self.databases, self.duration) = (databases, duration)
    }

    func run() async throws {
        try? await gracefulShutdown()
        // The task is detached, so that `run` returns at once and the other services can end.
        Task.detached { [databases, duration] in
            try? await Task.sleep(for: duration)
            for database in databases { await database.endStatements() }
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
