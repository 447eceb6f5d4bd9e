import ArgumentParser
import Fieldseal
import Foundation
import Logging

/// The settings.
struct Config: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Check the settings.", subcommands: [Check.self])

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the settings in force, with secrets hidden, and check the files that they name.")
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let settings = try await Settings.read(options.settings)
            let members: [(String, String)] = [
                ("database", Self.hidden(settings.database)),
                ("migrationDatabase", Self.hidden(settings.migrationDatabase)),
                ("connections", "\(settings.connections)"), ("kekFile", settings.kekFile), ("baseURL", settings.baseURL),
                ("https", "\(settings.httpsHost) port \(settings.httpsPort)"),
                ("certificateFile", settings.certificateFile), ("privateKeyFile", settings.privateKeyFile),
                ("http", settings.httpPort.map { "\(settings.httpHost) port \($0)" } ?? "off"),
                ("logLevel", settings.logLevel.rawValue), ("iterations", "\(settings.policy.iterations)"),
            ]
            var problems: [String] = []
            do { _ = try KeyEncryptionKeyFile.read(settings.kekFile) } catch { problems.append("\(error)") }
            for path in [settings.certificateFile, settings.privateKeyFile] where !FileManager.default.isReadableFile(atPath: path)
            {
                problems.append("\(path.isEmpty ? "no certificate or private key is named" : "\(path) can't be read")")
            }
            options.report(
                .object(
                    members.map { .init($0.0, .string($0.1)) } + [.init("problems", .array(problems.map { .string($0) }))]),
                (members.map { "\($0.0): \($0.1)" } + problems.map { "problem: \($0)" }).joined(separator: "\n"))
            if !problems.isEmpty { throw ExitCode.failure }
        }

        /// A connection string without the values of its passwords.
        private static func hidden(_ conninfo: String) -> String {
            conninfo
                .replacing(#/((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)/#.ignoresCase()) { "\($0.output.1)****" }
                .replacing(#/(://[^:/@]*:)[^@]*@/#) { "\($0.output.1)****@" }
        }
    }
}
