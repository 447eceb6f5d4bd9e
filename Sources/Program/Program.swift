import ArgumentParser
import CellCrypto
import Foundation
import Glibc

/// `fieldseal`: one program with a subcommand for each task.
@main
struct Program: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fieldseal",
        abstract: "Field-level data encryption for organizations whose records live in PostgreSQL.",
        discussion: """
            Commands work on the deployment that a settings file names: --settings, else FIELDSEAL_SETTINGS, else \
            fieldseal.yaml in FIELDSEAL_HOME or ./.fieldseal, else /etc/fieldseal/fieldseal.yaml.

            Exit codes: 0 done; 1 failed, or something was found (doctor: warnings); 2 the doctor found an error; 3 the database can't \
            be reached (doctor, verify, events verify, migrate, config check); 64 the command line is wrong; 78 the key-encryption key is not \
            the deployment's, or (serve, router) the settings have to be corrected.
            """,
        version: "0.1.0",
        subcommands: [
            Dev.self, Setup.self, Serve.self, Migrate.self, Org.self, Key.self, Kek.self, Client.self, User.self, Issuer.self,
            ApprovalCommand.self, Verify.self, Events.self, Retention.self, Backup.self, RouterCommand.self, DoctorCommand.self,
            Config.self,
        ]
    )

    static func main() async {
        // Without this, libdispatch logs a line when it may not raise a thread's priority, for example in a systemd unit.
        setenv("LIBDISPATCH_LOG", "NO", 0)
        CryptoLibrary.keepUntilExit()
        // A disconnected peer is an error of that connection, and must not end the program.
        signal(SIGPIPE, SIG_IGN)
        // A core dump would contain keys, and another process of the same user could read them in this process's memory.
        ProcessProtection.apply()
        CommandOutput.occupyClosedDescriptors()
        let code = await run()
        if let failure = CommandOutput.end() {
            report(failure)
            exit(code == .success ? ExitCode.failure : code)
        }
        exit(code)
    }

    /// Runs the command of the command line.
    private static func run() async -> ExitCode {
        do {
            var command = try await asyncParseAsRoot()
            if var command = command as? any AsyncParsableCommand { try await command.run() } else { try command.run() }
            return .success
        } catch {
            let (text, code) = (fullMessage(for: error), exitCode(for: error))
            // A help text or a version that was asked for goes to standard output.
            if code == .success { CommandOutput.line(text) } else if !text.isEmpty { report(text, prefix: "") }
            return code
        }
    }

    private static func report(_ text: some CustomStringConvertible, prefix: String = "Error: ") {
        // If standard error can't be written either, only the exit code reports the failure.
        try? FileHandle.standardError.write(contentsOf: Data("\(prefix)\(text)\n".utf8))
    }

    private static func exit(_ code: ExitCode) -> Never { Glibc.exit(code.rawValue) }
}

/// Ignores the signals of a closed terminal, a log's rotation and a certificate's renewal, which would end the process by default.
/// SIGTERM and SIGINT still stop the process gracefully.
func ignoreHangUps() {
    for number in [SIGHUP, SIGUSR1, SIGUSR2] { signal(number, SIG_IGN) }
}
