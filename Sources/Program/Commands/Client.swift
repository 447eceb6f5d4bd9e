public import ArgumentParser
public import Fieldseal
import Foundation

/// API clients.
struct Client: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Add, list and disable the programs that may use an organization's Web API.",
        subcommands: [Add.self, List.self, Disable.self])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Add a client. Its secret is shown once.")
        @Argument var name: String
        @Option(help: "System Administrator, Email Administrator, Basic User or Email Router.") var role: Role
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let (id, secret) = try await organization.session(options.deployment().0).addClient(name: name, role: role)
            options.report(
                ["clientId": .string(id.text), "clientSecret": .string(secret), "role": .string(role.rawValue)],
                """
                client id      \(id.text)
                client secret  \(secret)
                The secret is shown this once and stored nowhere.
                """)
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the clients.")
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let entries = try await organization.session(options.deployment().0).clients()
            options.report(
                .array(
                    entries.map { entry in
                        [
                            "clientId": .string(entry.id.text), "name": .string(entry.name), "role": .string(entry.role),
                            "createdOn": .string(ISO8601.text(entry.createdOn)),
                            "disabledOn": .text(entry.disabledOn.map(ISO8601.text)), "honoured": .bool(entry.isHonoured),
                        ]
                    }),
                entries.map { entry in
                    "\(entry.id.text)  \(entry.name)  \(entry.role)" + (entry.disabledOn == nil ? "" : "  disabled")
                        + (entry.isHonoured ? "" : "  not honoured: its row was not made by this service")
                }.joined(separator: "\n"))
        }
    }

    struct Disable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Disable a client; its tokens are refused at once.")
        @Argument(help: "The client's name or id.") var client: String
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            try await organization.session(options.deployment().0).disableClient(client)
            options.report(["disabled": .string(client)], "Disabled \(client).")
        }
    }
}

extension Role: ExpressibleByArgument {}
