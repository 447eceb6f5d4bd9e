import ArgumentParser
import Foundation
import Glibc
import JSON
import Model
import Organizations
import Tenancy

/// Security events: key reads and changes, passwords that were set, sign-ins, refusals.
struct Events: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "Export security events, verify that none was changed or taken out, and archive old ones.",
        subcommands: [Export.self, Verify.self, EventsArchive.self])

    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print security events as JSON lines, or send them to syslog.",
            discussion: """
                The last line, "attested", says where the chain ends. `events verify --against` compares it later with the database. The \
                next export goes on after its "newest".
                """)
        @OptionGroup var organization: OrganizationOption
        @Option(
            name: [.customLong("after"), .customLong("since")], help: ArgumentHelp("Only events after this one.", valueName: "id"))
        var after = 0
        @Flag(help: "Send them to syslog (facility authpriv) instead of printing them.") var syslog = false
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let session = try await organization.session(options, isInspection: true)
            await session.linkPendingEvents()
            var last = after
            var count = 0
            while true {
                let events = try await session.securityEvents(after: last, limit: 1_000)
                guard let newest = events.last else { break }
                for event in events { put(event.json(session.organization.name), isGood: event.outcome == "succeeded") }
                last = newest.id
                count += events.count
            }
            let end = await session.attestedEnd()
            put(["organization": .string(session.organization.name), "attested": end], isGood: true)
            if syslog {
                options.report(
                    ["sent": .integer(Int64(count)), "last": .integer(Int64(last)), "attested": end],
                    "Sent \(count) events to syslog. Next: --after \(last).")
            }
        }

        private func put(_ json: JSONValue, isGood: Bool) {
            let line = String(decoding: json.utf8, as: UTF8.self)
            guard syslog else { return print(line) }
            let priority = LOG_AUTHPRIV | (isGood ? LOG_NOTICE : LOG_WARNING)
            line.withCString { text in withVaList([text]) { vsyslog(priority, "fieldseal: %s", $0) } }
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Verify the chain of security events of one or all organizations; exit 1 and what is wrong if one is broken or cut off.",
            discussion:
                "With archives, which take --org, they are verified too: all those of security events, or archives of the audit, have to be named."
        )
        @OptionGroup var organizations: OrganizationsOption
        @Flag(help: "Verify only the events since the last verification.") var fromCheckpoint = false
        @Option(parsing: .upToNextOption, help: ArgumentHelp("Files that `events archive` wrote.", valueName: "file"))
        var archive: [String] = []
        @Option(
            help: ArgumentHelp("A file that `events export` wrote: its events must be those of the chain.", valueName: "file"))
        var against: String?
        @OptionGroup var options: CommandOptions

        func run() async throws {
            // An archive or export has one organization.
            let isOne = organizations.name != nil || !archive.isEmpty || against != nil
            let chosen = try await isOne ? options.located(organizations.name) : options
            try await chosen.inDatabases(of: organizations.name, look)
        }

        @Sendable private func look(_ options: CommandOptions) async throws {
            let (deployment, _) = try await options.deployment()
            let names =
                if organizations.name != nil || !archive.isEmpty || against != nil {
                    [try await organizations.one.resolved(deployment)]
                } else {
                    try await OrganizationEntry.list(deployment).map(\.organization.name)
                }
            var failed = false
            for name in names {
                let (verified, archived, notCompared, problems) = try await result(of: name, deployment)
                failed = failed || !problems.isEmpty
                let omission =
                    notCompared == 0
                    ? ""
                    : " \(notCompared) events of the export were archived since, and were not compared: name their files with --archive."
                options.report(
                    [
                        "organization": .string(name), "verified": .integer(Int64(verified)), "archived": .integer(Int64(archived)),
                        "notCompared": .integer(Int64(notCompared)), "problems": .array(problems.map { .string($0) }),
                    ],
                    problems.isEmpty
                        ? "\(name): \(verified + archived) events were verified. The chain of security events is whole.\(omission)"
                        : problems.map { "\(name): \($0)" }.joined(separator: "\n"))
            }
            if failed { throw ExitCode.failure }
        }

        /// Verifies one organization. A problem there does not prevent the verification of the others.
        private func result(of name: String, _ deployment: Deployment) async throws -> (
            verified: Int, archived: Int, notCompared: Int, problems: [String]
        ) {
            do {
                let session = try await Session.begin(
                    deployment, organization: name, caller: commandLineCaller, isInspection: true)
                let report = try await session.verifySecurityEvents(fromCheckpoint ? .sinceCheckpoint : .whole)
                var problems = report.problems
                var summaries: [EventArchiveFile.Summary] = []
                let replaced = archive.isEmpty ? [:] : try await ReplacedKeyEncryptionKey.archiveKeys(deployment)
                for path in archive {
                    do {
                        summaries.append(try EventArchiveFile(path).verify(under: deployment.kek, replaced: replaced))
                    } catch let error as FieldsealError {
                        problems.append(error.message)
                    }
                }
                // Archives of the audit have no chain: each is verified by itself.
                let audits = summaries.filter { $0.content == EventArchiveFile.auditContent }
                for audit in audits where audit.organizationID != session.organization.id.text {
                    problems.append("an archive holds the audit of the organization \(audit.organization)")
                }
                let events = summaries.filter { $0.content != EventArchiveFile.auditContent }
                if !archive.isEmpty, audits.isEmpty || !events.isEmpty {
                    problems += try await EventArchiveFile.problems(of: events, with: session)
                }
                var notCompared = 0
                if let against {
                    let lines = try Self.lines(of: against)
                    let digests = try archive.reduce(into: [:]) { digests, path in
                        try digests.merge(EventArchiveFile(path).digests()) { first, _ in first }
                    }
                    let found = try await session.problems(inExport: lines, archived: digests)
                    notCompared = found.notCompared
                    problems += found.problems
                    problems += try await session.problems(against: try Self.attested(lines, against))
                }
                return (report.verified, summaries.reduce(0) { $0 + $1.count }, notCompared, problems)
            } catch  where archive.isEmpty && against == nil {
                return (0, 0, 0, [try options.words(for: error)])
            }
        }

        /// The lines of an export; nil for one that is no JSON.
        private static func lines(of path: String) throws -> [JSONValue?] {
            guard let data = FileManager.default.contents(atPath: path) else {
                throw CommandFailure("\(path) can't be read. Name a file that `events export` wrote.")
            }
            return data.split(separator: UInt8(ascii: "\n")).map { try? JSONParser.parse(Array($0)) }
        }

        private static func attested(_ lines: [JSONValue?], _ path: String) throws -> JSONValue {
            guard let attested = lines.last??["attested"] else {
                throw CommandFailure("\(path) does not end like a file that `events export` wrote.")
            }
            return attested
        }
    }
}
