import ArgumentParser
import Foundation
import Glibc
import JSON
import Logging
import MailRouter
import RouterProtocol
import ServiceLifecycle
import UnixSignals

/// The command `router`, which runs the e-mail router, or shows the status of mailboxes.
struct RouterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "router",
        abstract: "Run the e-mail router, or show the state of mailboxes.",
        subcommands: [Run.self, RouterStatusCommand.self],
        defaultSubcommand: Run.self)

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Fetch and send the mail of an organization until SIGINT or SIGTERM.",
            discussion: """
                The router is a client of the Web API with the role Email Router. It stores nothing, so any number of routers may \
                serve one organization, on any machine. Without --service it works for the development deployment.
                """,
            example: """
                router run --service https://crm.example.com:8443 --org contoso --client-id \
                11111111-2222-4333-8444-555555555555 --secret-file /etc/fieldseal/router-contoso.secret
                """)
        @Option(help: ArgumentHelp("The service's address.", valueName: "url")) var service: String?
        @Option(name: .customLong("org"), help: ArgumentHelp("The organization.", valueName: "name")) var organization = "contoso"
        @Option(help: ArgumentHelp("The id of the router's client.", valueName: "id")) var clientID: String?
        @Option(help: ArgumentHelp("Read the client's secret from this file (mode 0400 or 0600).", valueName: "file"))
        var secretFile: String?
        @Option(help: ArgumentHelp("CA certificates in PEM for the service, instead of the system's.", valueName: "file"))
        var caFile: String?
        @Option(help: ArgumentHelp("CA certificates in PEM for mail servers, instead of the system's.", valueName: "file"))
        var mailCaFile: String?
        @Option(help: "How many mailboxes are processed at a time.") var workers = 4
        @Option(help: ArgumentHelp("Seconds between two turns at a mailbox that is polled.", valueName: "seconds"))
        var interval = 300
        @Option(help: ArgumentHelp("How many messages one turn processes at most.", valueName: "count"))
        var turnLimit = RouterConfiguration.defaultTurnLimit
        @Option(
            help: ArgumentHelp("Serve metrics for Prometheus over HTTP, at GET /metrics of this address.", valueName: "host:port"))
        var metrics: String?
        @Option(
            help: ArgumentHelp(
                "Seconds that a request for work waits at the service, 1 to 50. Must be less than the timeouts of proxies in "
                    + "between.",
                valueName: "seconds"))
        var wait = RouterLimits.waitSeconds
        @Option(
            help: ArgumentHelp(
                "How many connections wait for notifications of IMAP servers (IDLE). With 0, the router polls every mailbox.",
                valueName: "count"))
        var idleConnections = 500
        @Option(
            help: ArgumentHelp("Seconds after which IDLE is issued again: at most 1740.", valueName: "seconds"))
        var idleRefresh = 600
        @Flag(help: "Name every message in the log, by its Message-ID.") var verbose = false
        @Flag(help: .hidden) var withParent = false

        func validate() throws {
            guard (1...200).contains(workers), (1...86_400).contains(interval), (1...100_000).contains(turnLimit) else {
                throw ValidationError("--workers takes 1 to 200, --interval 1 to 86400, and --turn-limit 1 to 100000.")
            }
            guard (1...RouterLimits.waitSeconds).contains(wait), (0...RouterLimits.watchedMailboxes).contains(idleConnections),
                (1...Self.idleRefreshLimit).contains(idleRefresh)
            else {
                throw ValidationError(
                    "--wait takes 1 to \(RouterLimits.waitSeconds), --idle-connections 0 to \(RouterLimits.watchedMailboxes), and "
                        + "--idle-refresh 1 to \(Self.idleRefreshLimit).")
            }
            guard metrics == nil || metricsAddress != nil else {
                throw ValidationError("--metrics takes an address such as 127.0.0.1:9464.")
            }
        }

        /// The largest `--idle-refresh` in seconds. Servers may end IDLE after 30 minutes (RFC 2177).
        private static let idleRefreshLimit = 1_740

        private var metricsAddress: (host: String, port: Int)? {
            guard let metrics, let colon = metrics.lastIndex(of: ":"), let port = Int(metrics[metrics.index(after: colon)...]),
                (0...65_535).contains(port), colon > metrics.startIndex
            else { return nil }
            return (metrics[..<colon].trimmingCharacters(in: ["[", "]"]), port)
        }

        func run() async throws {
            ignoreHangUps()
            LoggingSystem.bootstrap { label in JSONLogHandler(label: label) }
            var logger = Logger(label: "router")
            logger.logLevel = verbose ? .debug : .info
            let router: Router
            do {
                router = Router(try configured(), logger: logger)
            } catch {
                logger.critical("the router ends", metadata: ["error": "\(error)"])
                // systemd does not restart a router that ended with this code.
                throw ExitCode(EX_CONFIG)
            }
            logger.notice("router started", metadata: ["workers": "\(workers)"])
            SystemdNotice.ready.send()
            let parent = getppid()
            try await withThrowingTaskGroup(of: Void.self) { group in
                if let (host, port) = metricsAddress {
                    let metrics = router.metrics
                    let server = MetricsServer.application(host: host, port: port, logger: logger) { metrics.write(to: &$0) }
                    group.addTask {
                        // If the server for metrics ends, the router stops too.
                        defer { router.stop() }
                        try await server.run()
                    }
                }
                group.addTask {
                    for await _ in await UnixSignalsSequence(trapping: .sigint, .sigterm) {
                        router.stop()
                        break
                    }
                }
                group.addTask { try await SystemdWatchdog().run() }
                group.addTask { [logger] in try await ReplacedProgram(logger: logger).run() }
                if withParent {
                    group.addTask {
                        while !Task.isCancelled, getppid() == parent { try? await Task.sleep(for: .milliseconds(500)) }
                        router.stop()
                    }
                }
                await router.run()
                group.cancelAll()
                try await group.waitForAll()
            }
            logger.notice("router stopped")
        }

        private func configured() throws -> RouterConfiguration {
            for (option, file) in [("--ca-file", caFile), ("--mail-ca-file", mailCaFile)] {
                guard let problem = SettingsFiles.authority(option, file) else { continue }
                throw CommandFailure("\(problem). The router's user must be able to read it, and to enter its folder.")
            }
            var configuration: RouterConfiguration
            if let service {
                guard service.hasPrefix("https://") else {
                    throw CommandFailure("The router can't use \(service): --service takes an address that begins with https://.")
                }
                guard let clientID, UUID(text: clientID) != nil else {
                    throw CommandFailure("--client-id takes the id that `fieldseal client add --role \"Email Router\"` printed.")
                }
                let secret = try SecretInput.read(prompt: "Client secret", file: secretFile)
                configuration = RouterConfiguration(
                    service: service.hasSuffix("/") ? String(service.dropLast()) : service, organization: organization,
                    clientID: clientID,
                    secret: secret)
                configuration.serviceAuthorityFile = caFile
                configuration.mailAuthorityFile = mailCaFile
            } else {
                let home = try DevelopmentHome()
                guard let file = DevelopmentFile.read(home), let client = file.clients["router"] else {
                    throw CommandFailure("There is no development deployment here: name a --service.")
                }
                configuration = RouterConfiguration(
                    service: file.baseURL, organization: file.organization, clientID: client.clientId, secret: client.clientSecret)
                configuration.serviceAuthorityFile = caFile ?? file.caFile
                configuration.mailAuthorityFile = mailCaFile
                configuration.laterMailAuthorityFile = home.file("mail/ca.pem")
            }
            configuration.workers = workers
            configuration.interval = interval
            configuration.turnLimit = turnLimit
            configuration.wait = wait
            configuration.idleConnections = idleConnections
            configuration.idleRefresh = idleRefresh
            return configuration
        }
    }
}
