import ArgumentParser
import Foundation
import Glibc
import JSON
import Model
import Organizations
import Tenancy

/// The command `events`, for security events: key reads and changes, passwords that were set, sign-ins, refusals.
struct Events: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events",
        abstract:
            "Export security events, verify that none was changed or removed, seal the audit, and archive old events and audit "
            + "entries.",
        subcommands: [Export.self, Verify.self, EventsSeal.self, EventsArchive.self])

    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print security events as JSON lines, or send them to syslog.",
            discussion: """
                The last line, "attested", says where the chain of events ends. `events verify --against` later compares the file \
                with the database. For the next export, give the number in "newest" of that line to --after.
                """,
            example: "events export --org contoso --after 1200")
        @OptionGroup var organization: OrganizationOption
        @Option(
            name: [.customLong("after"), .customLong("since")],
            help: ArgumentHelp("Export only events after the event with this id.", valueName: "id"))
        var after = 0
        @Flag(help: "Send the events to syslog (facility authpriv) instead of printing them.") var syslog = false
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let session = try await organization.session(options, isInspection: true)
            let reading = try EventReading(session)
            await session.linkPendingEvents()
            var (first, last, count): (Int?, Int, Int) = (nil, after, 0)
            var end = JSONValue.null
            var start: Int
            repeat {
                start = last
                while true {
                    let events = try await reading.events(after: last, limit: 1_000)
                    guard let newest = events.last else { break }
                    first = first ?? events.first?.id
                    for event in events { try put(event.json(session.organization.name), isGood: event.outcome == "succeeded") }
                    last = newest.id
                    count += events.count
                }
                end = await reading.attestedEnd()
                // Events may have been recorded while the export was written. The loop ends when the export has every event up
                // to its attested end.
            } while last > start && Self.newest(end) > last
            try put(
                [
                    "organization": .string(session.organization.name), "after": .integer(Int64(first.map { $0 - 1 } ?? after)),
                    "attested": end,
                ], isGood: true)
            if syslog {
                options.report(
                    ["sent": .integer(Int64(count)), "last": .integer(Int64(last)), "attested": end],
                    "Sent \(count) events to syslog. Next: --after \(last).")
            }
        }

        private static func newest(_ end: JSONValue) -> Int {
            if case .integer(let number)? = end["newest"] { Int(number) } else { 0 }
        }

        private func put(_ json: JSONValue, isGood: Bool) throws {
            let line = String(decoding: json.utf8, as: UTF8.self)
            guard syslog else {
                CommandOutput.line(line)
                return try CommandOutput.requireWritten()
            }
            let priority = LOG_AUTHPRIV | (isGood ? LOG_NOTICE : LOG_WARNING)
            line.withCString { text in withVaList([text]) { vsyslog(priority, "fieldseal: %s", $0) } }
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Verify the security events and the sealed audit of one or all organizations. If something is wrong, print it and "
                + "exit 1.",
            discussion:
                "With --archive, the files of one organization are verified too. Name all archives of its security events, or any "
                + "archives of its audit.",
            example: "events verify --org contoso --from-checkpoint")
        @OptionGroup var organizations: OrganizationsOption
        @Flag(
            help:
                "Verify only the events since the last verification without a problem, and the newest 100,000 entries of the audit."
        ) var fromCheckpoint = false
        @Option(parsing: .upToNextOption, help: ArgumentHelp("Files that `events archive` wrote.", valueName: "file"))
        var archive: [String] = []
        @Option(
            help: ArgumentHelp(
                "A file from `events export`. The command checks that the chain has the same events.", valueName: "file"))
        var against: String?
        @OptionGroup var options: CommandOptions

        func run() async throws {
            // An archive or an export belongs to one organization, so only that organization's database is used.
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
                let found = try await result(of: name, deployment)
                failed = failed || !found.problems.isEmpty
                options.report(found.json(name), found.text(name))
            }
            if failed { throw ExitCode.failure }
        }

        /// How many of the newest entries of the audit are verified if the events are verified from their checkpoint. The audit
        /// has no checkpoint of its own.
        private static let recentEntries = 100_000

        /// Verifies one organization. A problem in this organization does not prevent the verification of other organizations.
        private func result(of name: String, _ deployment: Deployment) async throws -> EventVerification {
            do {
                let reading = try await EventReading(organizations.session(of: name, deployment, isInspection: true))
                let report = try await reading.verify(fromCheckpoint ? .sinceCheckpoint : .whole)
                let audit = try await reading.verifyAudit(fromCheckpoint ? .recent(entries: Self.recentEntries) : .whole)
                var found = EventVerification(
                    verified: report.verified, audit: audit, problems: report.problems + audit.problems,
                    omitted: report.omitted + audit.omitted)
                if !archive.isEmpty { try await addArchives(to: &found, reading) }
                if let against { try await compare(against, &found, reading) }
                return found
            } catch  where archive.isEmpty && against == nil {
                return EventVerification(verified: 0, problems: [try options.words(for: error)])
            }
        }

        private func addArchives(to found: inout EventVerification, _ reading: EventReading) async throws {
            let (deployment, organization) = (reading.session.deployment, reading.session.organization)
            var summaries: [EventArchiveFile.Summary] = []
            let replaced = try await ReplacedKeyEncryptionKey.archiveKeys(deployment)
            for path in archive {
                do {
                    summaries.append(try EventArchiveFile(path).verify(under: deployment.kek, replaced: replaced))
                } catch let error as FieldsealError {
                    found.problems.append(error.message)
                }
            }
            // Archives of the audit have no chain, so each is verified separately.
            let audits = summaries.filter { $0.content == EventArchiveFile.auditContent }
            for audit in audits where audit.organizationID != organization.id.text {
                found.problems.append("an archive holds the audit of the organization \(audit.organization)")
            }
            let events = summaries.filter { $0.content != EventArchiveFile.auditContent }
            if audits.isEmpty || !events.isEmpty {
                found.problems += try await reading.problems(ofArchives: events)
            }
            found.archived = events.reduce(0) { $0 + $1.count }
            found.auditEntries = audits.reduce(0) { $0 + $1.count }
        }

        private func compare(_ file: String, _ found: inout EventVerification, _ reading: EventReading) async throws {
            let lines = try Self.lines(of: file)
            let digests = try archive.reduce(into: [:]) { digests, path in
                try digests.merge(EventArchiveFile(path).digests()) { first, _ in first }
            }
            let compared = try await reading.problems(inExport: lines, archived: digests)
            found.notCompared = compared.notCompared
            found.problems += compared.problems
            found.problems += try await reading.problems(against: try Self.attested(lines, file, reading))
        }

        /// The lines of an export. A line is nil if it is not JSON.
        private static func lines(of path: String) throws -> [JSONValue?] {
            guard let data = FileManager.default.contents(atPath: path) else {
                throw CommandFailure(
                    "\(path) can't be read\(FileStatus.obstacle(toReading: path).map { ": \($0)" } ?? ""). Name a file that `events export` wrote."
                )
            }
            return data.split(separator: UInt8(ascii: "\n")).map { try? JSONParser.parse(Array($0)) }
        }

        private static func attested(_ lines: [JSONValue?], _ path: String, _ reading: EventReading) throws -> JSONValue {
            if let newest = reading.newestAttested(in: lines) { return newest }
            guard lines.contains(where: { $0?["attested"] != nil }) else {
                throw CommandFailure("\(path) does not end like a file that `events export` wrote.")
            }
            throw CommandFailure(
                "\(path) has no attested state of \(reading.session.organization.name): the file is from another organization, or "
                    + "its last line is damaged."
            )
        }
    }
}
