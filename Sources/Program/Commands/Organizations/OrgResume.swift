import ArgumentParser
import JSON
import Organizations
import Tenancy

extension Org {
    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Resume an organization that was suspended, or whose removal was begun.",
            example: "org resume contoso")
        @Argument(help: "The organization.") var name: String
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let wasSuspended = try await options.registry(of: name).resume(name: name, by: commandLineCaller)
            options.report(
                ["organization": .string(name), "status": .string(OrganizationOverview.Status.served.rawValue)],
                wasSuspended ? "\(name) is served again." : "\(name) was not suspended; its requests are answered.")
        }
    }
}
