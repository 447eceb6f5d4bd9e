import ArgumentParser
import Foundation
import JSON
import PostgresClient
import Tenancy

/// The command `config`, which checks and lists the settings.
struct Config: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check the settings, or list every setting.", subcommands: [Check.self, Reference.self])

    struct Reference: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the reference of settings in Markdown: variable, accepted values and default of each.",
            example: "config reference")

        func run() {
            CommandOutput.line(
                """
                # Settings

                Every setting, with the variable that goes before the file, what it takes, and its default. [Operations](operations.md#settings)
                explains what each does. `fieldseal config reference` prints this page.

                | setting | variable | takes | default |
                | --- | --- | --- | --- |
                """)
            for setting in Settings.table {
                let value = setting.read(Settings.defaults)
                let initial = setting.isRequired ? "required" : [.none, .text("")].contains(value) ? "none" : value.text
                CommandOutput.line("| `\(setting.key)` | `\(setting.variable)` | \(setting.expectation) | \(initial) |")
            }
        }
    }

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the settings in force, with secrets hidden, and test them.",
            discussion:
                "The command reads files and certificates as the service does, tries ports, connects with both roles, and "
                + "compares the key-encryption key with the database.",
            example: "config check --settings /etc/fieldseal/fieldseal.yaml")
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let settings = try await Settings.read(options.settings)
            var trial = ConfigTrial(settings)
            await trial.run()
            var (problems, notes) = (trial.problems, trial.notes)
            do {
                let own = try ServerCertificate(settings)
                if let note = SettingsNotes(settings).name(in: own) { notes.append(note) }
                for certificate in try [own] + ServerCertificate.ofHosts(settings).values {
                    Self.checkExpiry(certificate, &problems, &notes)
                }
            } catch {
                problems.append("\(error)")
            }
            options.report(
                [
                    "settings": .object(settings.shown.map { .init($0.key, $0.value.json) }),
                    "problems": .array(problems.map { .string($0) }), "notes": .array(notes.map { .string($0) }),
                ],
                (settings.shown.map { "\($0.key): \($0.value.text)" } + problems.map { "problem: \($0)" }
                    + notes.map { "note: \($0)" } + (problems.isEmpty && notes.isEmpty ? ["Nothing is wrong."] : [])).joined(
                        separator: "\n"))
            if !problems.isEmpty { throw ExitCode.failure }
            if trial.isDatabaseAway { throw ExitCode(3) }
        }

        /// How many days before its expiry a certificate is reported.
        private static let expiryNotice = 30

        private static func checkExpiry(
            _ certificate: ServerCertificate, _ problems: inout [String], _ notes: inout [String]
        ) {
            let days = Int((certificate.expiresOn.timeIntervalSinceNow / 86_400).rounded(.down))
            let date = ISO8601.text(certificate.expiresOn)
            if certificate.expiresOn < Date() {
                problems.append("the certificate \(certificate.file) expired on \(date)")
            } else if days < expiryNotice {
                notes.append("the certificate \(certificate.file) expires in \(days) days, on \(date)")
            }
        }
    }
}

extension Setting.Value {
    fileprivate var json: JSONValue {
        switch self {
        case .text(let text): .string(text)
        case .integer(let number): .integer(Int64(number))
        case .flag(let flag): .bool(flag)
        case .list(let texts): .array(texts.map { .string($0) })
        case .table(let table): .object(table.sorted { $0.key < $1.key }.map { .init($0.key, .string($0.value)) })
        case .lists(let lists):
            .object(lists.sorted { $0.key < $1.key }.map { .init($0.key, .array($0.value.map { .string($0) })) })
        case .none: .null
        }
    }

    fileprivate var text: String {
        switch self {
        case .text(let text): text.isEmpty ? "none" : text
        case .integer(let number): "\(number)"
        case .flag(let flag): "\(flag)"
        case .list(let texts): texts.isEmpty ? "none" : texts.joined(separator: ", ")
        case .table(let table):
            table.isEmpty ? "none" : table.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ", ")
        case .lists(let lists):
            lists.isEmpty
                ? "none"
                : lists.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value.joined(separator: " "))" }.joined(separator: ", ")
        case .none: "none"
        }
    }
}
