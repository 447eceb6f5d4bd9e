import ArgumentParser
import Authentication
import Foundation
import JSON
import Model
import Tenancy

/// The command `user`, which manages the people who sign in to the console.
struct User: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user",
        abstract: "Add, list, change and remove the people who sign in to the console.",
        subcommands: [
            Add.self, List.self, SetRole.self, Reset.self, Disable.self, Enable.self, EndSessions.self, Remove.self,
            RequireSecondFactor.self,
        ])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a person, with a password from the terminal or standard input.",
            example: "user add ada --org contoso --role \"System Administrator\"")
        @Argument(help: "The name to sign in with.") var name: String
        @Option(help: "The person's role.") var role: PersonRole
        @Option(help: ArgumentHelp("Read the password from this file (mode 0400 or 0600).", valueName: "file"))
        var passwordFile: String?
        @Option(help: ArgumentHelp("An existing systemuser that the person acts as, instead of a new one.", valueName: "id"))
        var existing: String?
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let user = try existing.map { text in
                guard let id = UUID(text: text.lowercased()) else {
                    throw ValidationError("--existing takes the id of a systemuser.")
                }
                return id
            }
            let (deployment, settings) = try await options.deployment(of: organization.name)
            let session = try await organization.session(deployment)
            let id = try await PeopleAdministration(session).add(
                name: name, password: try SecretInput.read(prompt: "Password", file: passwordFile), role: role.role, existing: user)
            options.report(
                ["userId": .string(id.text), "name": .string(name), "role": .string(role.rawValue)],
                "Added \(name), who signs in at \(settings.consoleAddress(of: session.organization.name))")
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the people.",
            example: "user list --org contoso")
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let entries = try await PeopleAdministration(organization.session(options)).list()
            options.report(
                .array(
                    entries.map { entry in
                        [
                            "userId": .string(entry.id.text), "name": .string(entry.name), "role": .string(entry.role),
                            "createdOn": .string(ISO8601.text(entry.createdOn)),
                            "disabledOn": .text(entry.disabledOn.map(ISO8601.text)), "honoured": .bool(entry.isAuthentic),
                            "secondFactor": .bool(entry.hasSecondFactor), "sessions": .integer(Int64(entry.sessions)),
                            "mustChangePassword": .bool(entry.mustChangePassword),
                        ]
                    }),
                entries.isEmpty
                    ? "There is no person yet: fieldseal user add."
                    : entries.map { entry in
                        "\(entry.name.onOneLine)  \(entry.role)" + (entry.disabledOn == nil ? "" : "  disabled")
                            + (entry.hasSecondFactor ? "  one-time passwords" : "")
                            + (entry.sessions == 0 ? "" : "  \(entry.sessions) session\(entry.sessions == 1 ? "" : "s")")
                            + (entry.mustChangePassword ? "  has to change the password" : "")
                            + (entry.isAuthentic ? "" : "  not made by this service: not honoured")
                    }.joined(separator: "\n"))
        }
    }

    struct Disable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Disable a person, and end their sessions.",
            example: "user disable ada --org contoso")
        @Argument(help: "The person's name or id.") var name: String
        @Flag(help: "Disable the person even if they are the last System Administrator.") var evenIfLast = false
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            try await PeopleAdministration(organization.session(options)).disable(name, evenIfLast: evenIfLast)
            options.report(["disabled": .string(name)], "Disabled \(name).")
        }
    }

    struct Reset: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give a person another password, which they change at their next sign-in.",
            discussion: "The command also enables the person, turns their one-time passwords off, and ends their sessions.",
            example: "user reset ada --org contoso")
        @Argument(help: "The person's name.") var name: String
        @Option(help: ArgumentHelp("Read the password from this file (mode 0400 or 0600).", valueName: "file"))
        var passwordFile: String?
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let (deployment, _) = try await options.deployment(of: organization.name)
            let password = try SecretInput.read(prompt: "New password", file: passwordFile)
            let role = try await PeopleAdministration(organization.session(deployment)).reset(name, password: password)
            options.report(
                ["reset": .string(name)],
                "\(name) signs in with the new password, and then chooses another one. Role: \(role.rawValue).")
        }
    }
}
