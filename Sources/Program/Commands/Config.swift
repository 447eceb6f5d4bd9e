import ArgumentParser
import Fieldseal
import Foundation

/// The settings.
struct Config: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Check the settings.", subcommands: [Check.self])

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the settings in force, with secrets hidden, and check the files that they name.")
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let settings = try await Settings.read(options.settings)
            var problems: [String] = []
            do { _ = try KeyEncryptionKeyFile.read(settings.kekFile) } catch { problems.append("\(error)") }
            for path in [settings.certificateFile, settings.privateKeyFile] where !FileManager.default.isReadableFile(atPath: path)
            {
                problems.append("\(path.isEmpty ? "no certificate or private key is named" : "\(path) can't be read")")
            }
            options.report(
                [
                    "settings": .object(settings.shown.map { .init($0.key, .string($0.value)) }),
                    "problems": .array(problems.map { .string($0) }),
                ],
                (settings.shown.map { "\($0.key): \($0.value)" } + problems.map { "problem: \($0)" }).joined(separator: "\n"))
            if !problems.isEmpty { throw ExitCode.failure }
        }
    }
}
