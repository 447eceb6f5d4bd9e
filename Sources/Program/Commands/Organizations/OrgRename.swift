import ArgumentParser
import JSON
import Organizations
import Tenancy

extension Org {
    struct Rename: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Rename an organization and its schema.",
            discussion: """
                Its id, key and cells stay. Addresses and tokens have the name in them: clients, routers and people use the new \
                name, and sign in again. Change the setting `hosts`, rights that were granted on the schema's name, and scripts \
                that name it.
                """,
            example: "org rename contoso contoso-europe")
        @Argument(help: "The organization.") var name: String
        @Argument(help: "The new name: at most 39 lower-case letters, digits and hyphens.") var new: String
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let located = try await options.located(name)
            let renamed = try await located.naming(new) { deployment, settings, _ in
                try await OrganizationRegistry(
                    conninfo: settings.migrationDatabase, kek: deployment.kek, policy: deployment.policy
                ).rename(name, to: new, by: commandLineCaller)
            }
            options.report(
                ["organization": .string(new), "id": .string(renamed.id.text), "schema": .string(renamed.schema)],
                """
                \(name) is \(new) now, in the schema \(renamed.schema).
                Its addresses begin with /\(new)/: change clients, routers and the setting `hosts`. Everyone signs in again.
                """)
        }
    }
}
