import ArgumentParser
import Email
import Foundation
import JSON
import Model
import Organizations
import Tenancy

/// Archives or deletes evidence and e-mails that are older than the settings `retention.…` say.
struct Retention: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Archive old security events and audit entries, and delete old e-mails, as the settings say.",
        discussion: """
            retention.eventDays and retention.auditDays move what is older to sealed files in retention.folder; \
            retention.emailDays deletes e-mails that were sent, received, completed or canceled. What has no setting is kept. \
            fieldseal-retention.timer runs this command every night.
            """,
        example: "retention --org contoso")
    @Option(name: .customLong("org"), help: ArgumentHelp("Only this organization.", valueName: "name")) var organization: String?
    @OptionGroup var options: CommandOptions

    func run() async throws { try await options.inDatabases(of: organization, look) }

    @Sendable private func look(_ options: CommandOptions) async throws {
        let (deployment, settings) = try await options.deployment()
        if let problem = SettingsFiles(settings).archiveProblem { throw CommandFailure("\(problem). Nothing was changed.") }
        guard options.json || (settings.eventDays ?? settings.auditDays ?? settings.emailDays) != nil else {
            CommandOutput.line(
                "None of retention.eventDays, retention.auditDays and retention.emailDays is set, so nothing was changed.")
            return
        }
        let names = try await OrganizationEntry.list(deployment).map(\.organization.name)
        guard organization.map(names.contains) ?? true else {
            throw CommandFailure("There is no organization \(organization ?? ""); there are: \(names.joined(separator: ", ")).")
        }
        var hasFailed = false
        for name in names where organization ?? name == name {
            do {
                try await apply(to: name, deployment, settings)
            } catch {
                // If one organization is damaged, the other organizations are still processed.
                hasFailed = true
                let words = try options.words(for: error)
                options.report(["organization": .string(name), "error": .string(words)], "\(name): \(words)")
            }
        }
        if hasFailed { throw ExitCode.failure }
    }

    private func apply(to name: String, _ deployment: Deployment, _ settings: Settings) async throws {
        let session = try await Session.begin(deployment, organization: name, caller: commandLineCaller)
        try await session.chainPendingEvents()
        if settings.auditDays != nil { try await session.sealAudit() }
        let archiver = EvidenceArchiver(
            OrganizationRegistry(conninfo: settings.migrationDatabase, kek: deployment.kek, policy: settings.policy),
            session: session)
        let now = Date()
        func file(_ kind: String) -> String { "\(settings.archiveFolder ?? ".")/\(name)-\(kind)-\(Self.stamp(now)).jsonl" }
        let events = try await Self.count(settings.eventDays, now) {
            try await archiver.archiveEvents(before: $0, to: file("events"))
        }
        let audit = try await Self.count(settings.auditDays, now) { try await archiver.archiveAudit(before: $0, to: file("audit")) }
        var emails = 0
        if let days = settings.emailDays {
            emails = try await EmailRetention(session).removeEmails(before: Self.date(days, before: now))
        }
        options.report(
            [
                "organization": .string(name), "events": .integer(Int64(events)), "auditEntries": .integer(Int64(audit)),
                "emails": .integer(Int64(emails)),
            ],
            "\(name): archived \(events) security events and \(audit) audit entries, deleted \(emails) e-mails")
    }

    /// Archives entries that are older than this number of days.
    ///
    /// - Returns: How many entries were archived.
    private static func count(
        _ days: Int?, _ now: Date, _ archive: (Date) async throws -> EvidenceArchiver.Summary
    ) async throws -> Int {
        guard let days else { return 0 }
        do {
            return try await archive(date(days, before: now)).file.count
        } catch let error as FieldsealError where error.code == .objectDoesNotExist {
            return 0
        }
    }

    private static func date(_ days: Int, before now: Date) -> Date { now.addingTimeInterval(-Double(days) * Double(secondsOfDay)) }

    /// A file name with the time of the archive.
    private static func stamp(_ date: Date) -> String {
        String(ISO8601.text(date).prefix(19)).replacing(":", with: "").replacing("T", with: "-")
    }
}
