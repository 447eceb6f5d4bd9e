import ArgumentParser
import JSON
import Organizations
import Tenancy

extension Org {
    struct Suspend: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Refuse all requests of an organization until `fieldseal org resume`.",
            discussion: """
                Its clients, people and routers are refused from their next request on, by every server. Records, cells and keys \
                stay, and the command line works as before. Suspending and resuming are security events.
                """,
            example: "org suspend contoso")
        @Argument(help: "The organization.") var name: String
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let isNew = try await options.registry(of: name).suspend(name: name, by: commandLineCaller)
            options.report(
                ["organization": .string(name), "status": .string(OrganizationOverview.Status.suspended.rawValue)],
                "\(name) \(isNew ? "is suspended" : "was suspended already"). To undo it: fieldseal org resume \(name).")
        }
    }
}
