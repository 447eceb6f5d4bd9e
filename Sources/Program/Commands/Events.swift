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
            abstract:
                "Check the chain of security events of one or all organizations; exit 1 and what is wrong if one is broken or cut off."
        )
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws { try await options.reachingDatabase(look) }

        private func look() async throws {
            let (deployment, _) = try await options.deployment()
            let names =
                if let name = organization.name { [name] } else {
                    try await OrganizationEntry.list(deployment).map(\.organization.name)
                }
            var failed = false
            for name in names {
                let problems = try await problems(of: name, deployment)
                failed = failed || !problems.isEmpty
                options.report(
                    ["organization": .string(name), "problems": .array(problems.map { .string($0) })],
                    problems.isEmpty
                        ? "\(name): the chain of security events is whole."
                        : problems.map { "\(name): \($0)" }.joined(separator: "\n"))
            }
            if failed { throw ExitCode.failure }
        }

        /// One organization by itself: the others are looked at all the same.
        private func problems(of name: String, _ deployment: Deployment) async throws -> [String] {
            do {
                return try await Session.begin(deployment, organization: name, caller: commandLineCaller, isInspection: true)
                    .eventChainProblems()
            } catch {
                return [try options.words(for: error)]
            }
        }
    }
}
