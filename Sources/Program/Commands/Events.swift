import ArgumentParser
import Fieldseal
import Foundation
import Glibc

/// Security events: who set, changed, activated or read a key, carried an organization about, or was refused.
struct Events: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "Export security events, and check that none was changed or taken out.",
        subcommands: [Export.self, Verify.self])

    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print security events as JSON lines, or send them to syslog.",
            discussion: "The last line's id is what the next export goes on after.")
        @OptionGroup var organization: OrganizationOption
        @Option(help: ArgumentHelp("Only events after this one.", valueName: "id")) var after = 0
        @Flag(help: "Send them to syslog (facility authpriv) instead of printing them.") var syslog = false
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let session = try await organization.session(options.deployment().0, isInspection: true)
            var last = after
            var count = 0
            while true {
                let events = try await session.securityEvents(after: last, limit: 1_000)
                guard let newest = events.last else { break }
                for event in events {
                    let line = String(decoding: event.json(session.organization.name).utf8, as: UTF8.self)
                    if syslog { send(line, event) } else { print(line) }
                }
                last = newest.id
                count += events.count
            }
            if syslog {
                options.report(
                    ["sent": .integer(Int64(count)), "last": .integer(Int64(last))],
                    "Sent \(count) events to syslog. Next: --after \(last).")
            }
        }

        private func send(_ line: String, _ event: RecordedEvent) {
            let priority = LOG_AUTHPRIV | (event.outcome == "succeeded" ? LOG_NOTICE : LOG_WARNING)
            line.withCString { text in withVaList([text]) { vsyslog(priority, "fieldseal: %s", $0) } }
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check the chain of security events; exit 1 and what is wrong if it is broken or cut off.")
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let session = try await organization.session(options.deployment().0, isInspection: true)
            let problems = try await session.eventChainProblems()
            options.report(
                [
                    "organization": .string(session.organization.name), "problems": .array(problems.map { .string($0) }),
                ],
                problems.isEmpty
                    ? "\(session.organization.name): the chain of security events is whole." : problems.joined(separator: "\n"))
            if !problems.isEmpty { throw ExitCode.failure }
        }
    }
}
