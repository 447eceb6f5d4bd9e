import ArgumentParser
import JSON
import Organizations
import Tenancy

/// Seals new entries of the audit.
struct EventsSeal: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "seal",
        abstract: "Seal the new entries of the audit now, as servers do once a minute.",
        discussion: """
            After sealing, `events verify` detects entries that SQL changed, deleted or added. Run `events seal` while the servers \
            are stopped, and before you give access to the database.
            """,
        example: "events seal --org contoso")
    @OptionGroup var organizations: OrganizationsOption
    @OptionGroup var options: CommandOptions

    func run() async throws {
        let chosen = try await organizations.name != nil ? options.located(organizations.name) : options
        try await chosen.inDatabases(of: organizations.name, look)
    }

    @Sendable private func look(_ options: CommandOptions) async throws {
        let (deployment, _) = try await options.deployment()
        let names =
            if organizations.name != nil {
                [try await organizations.one.resolved(deployment)]
            } else {
                try await OrganizationEntry.list(deployment).map(\.organization.name)
            }
        var hasFailed = false
        for name in names {
            do {
                let count = try await organizations.session(of: name, deployment, isInspection: false).sealAudit()
                options.report(
                    ["organization": .string(name), "sealed": .integer(Int64(count))],
                    "\(name): sealed \(count) entries of the audit.")
            } catch {
                // If one organization is damaged, the audits of the other organizations are still sealed.
                hasFailed = true
                let words = try options.words(for: error)
                options.report(["organization": .string(name), "error": .string(words)], "\(name): \(words)")
            }
        }
        if hasFailed { throw ExitCode.failure }
    }
}
