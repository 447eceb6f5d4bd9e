import ArgumentParser
import Foundation
import JSON
import Organizations
import Tenancy

/// Moves old evidence from the database to a file.
struct EventsArchive: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "archive",
        abstract: "Move old security events, or old entries of the audit, to a sealed file.",
        discussion: """
            The chain stays verifiable: the database knows where it begins, and `events verify --archive` verifies the files along \
            with it. Keep the files: no other copy of these events exists. The newest event always stays in the database.
            """,
        example: "events archive --org contoso --before 2026-01-01 --to /var/lib/fieldseal/archive/contoso-2025.archive")
    @OptionGroup var organization: OrganizationOption
    @Option(
        help: ArgumentHelp(
            "Archive up to this date (UTC), such as 2026-01-31 or 2026-01-31T12:00:00Z.", valueName: "date"))
    var before: String
    @Option(help: ArgumentHelp("The file to write. It must not exist.", valueName: "file")) var to: String
    @Flag(help: "Archive the audit of records instead of security events.") var audit = false
    @OptionGroup var options: CommandOptions

    func validate() throws { _ = try date }

    /// How far in the future the date of `--before` may be, in seconds.
    private static let clockTolerance = 60.0

    private var date: Date {
        get throws {
            guard let date = ISO8601.date(before) else {
                throw ValidationError("\(before) is not a date. Write it like 2026-01-31, or like 2026-01-31T12:00:00Z.")
            }
            // A date slightly in the future is accepted, because the clock of the database's machine may be ahead of this one.
            guard date <= Date().addingTimeInterval(Self.clockTolerance) else {
                throw ValidationError(
                    "\(before) is in the future, so \(audit ? "the whole audit" : "every event but the newest") would be moved. Name a date in "
                        + "the past.")
            }
            return date
        }
    }

    func run() async throws {
        let date = try date
        let (deployment, settings) = try await options.deployment(of: organization.name)
        let session = try await organization.session(deployment)
        try await session.chainPendingEvents()
        if audit { try await session.sealAudit() }
        let archiver = EvidenceArchiver(
            OrganizationRegistry(conninfo: settings.migrationDatabase, kek: deployment.kek, policy: settings.policy),
            session: session)
        let summary =
            audit ? try await archiver.archiveAudit(before: date, to: to) : try await archiver.archiveEvents(before: date, to: to)
        let file = summary.file
        options.report(
            [
                "organization": .string(file.organization), "content": .string(file.content), "file": .string(summary.path),
                "count": .integer(Int64(file.count)), "first": .integer(Int64(file.first)), "last": .integer(Int64(file.last)),
            ],
            audit
                ? "Moved \(file.count) entries of the audit of \(file.organization) to \(summary.path)."
                : "Moved \(file.count) events of \(file.organization), \(file.first) to \(file.last), to \(summary.path). "
                    + "Verify: fieldseal events verify --archive \(summary.path)")
    }
}
