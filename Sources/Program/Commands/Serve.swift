import ArgumentParser
import Glibc
import Logging

/// The command `serve`, which runs the service in production.
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the HTTPS service until SIGINT or SIGTERM. It never migrates by itself.",
        example: "serve --settings /etc/fieldseal/fieldseal.yaml")
    @Option(help: ArgumentHelp("The settings file.", valueName: "file")) var settings: String?
    @Flag(help: "Start even if the service connects as a superuser, whose rights PostgreSQL does not check.")
    var allowSuperuser = false

    func run() async throws {
        ignoreHangUps()
        LoggingSystem.bootstrap { label in JSONLogHandler(label: label) }
        var logger = Logger(label: "fieldseal")
        do {
            let settings = try await Settings.read(settings)
            logger.logLevel = settings.logLevel
            try await HTTPService(settings: settings, logger: logger).run(
                allowSuperuser: allowSuperuser, with: SystemdWatchdog(), onRunning: { SystemdNotice.ready.send() })
        } catch {
            logger.critical("the service ends", metadata: ["error": "\(error)"])
            // systemd does not restart a service that ended with EX_CONFIG.
            throw ExitCode(error.needsCorrection ? EX_CONFIG : EXIT_FAILURE)
        }
    }
}
