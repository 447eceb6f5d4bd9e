import ArgumentParser
import Authentication
import Foundation
import JSON
import Organizations
import Tenancy

extension User {
    struct Enable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Enable a person again, with the password and the one-time passwords that they had.",
            example: "user enable ada --org contoso")
        @Argument(help: "The person's name.") var name: String
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let people = try await PeopleAdministration(organization.session(options))
            try await people.enable(people.id(of: name))
            options.report(["enabled": .string(name)], "Enabled \(name).")
        }
    }

    struct SetRole: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "role", abstract: "Give a person another role, from their next page on.",
            discussion: """
                If the role gives new rights, all sessions of the person end. The password ends too, unless it is on record that the \
                person chose it. Then create a link on the person's page in the console, or use user reset.
                """,
            example: "user role ada \"Email Administrator\" --org contoso")
        @Argument(help: "The person's name.") var name: String
        @Argument(help: "The person's new role.") var role: PersonRole
        @Flag(help: "Change the role even if the person is the last System Administrator.") var evenIfLast = false
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let people = try await PeopleAdministration(organization.session(options))
            let endsPassword = try await people.setRole(role.role, of: people.id(of: name), evenIfLast: evenIfLast)
            var text = "\(name) is \(role.rawValue) now."
            if endsPassword {
                text += """
                     The password ended, because it is not on record that \(name) chose it. Create a link on the person's page in the \
                    console, or set a password to begin with: fieldseal user reset \(name)
                    """
            }
            options.report(
                ["name": .string(name), "role": .string(role.rawValue), "passwordEnded": .bool(endsPassword)], text)
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a person, and end their sessions.",
            discussion: "The systemuser that the person acted as is disabled and stays, since records name it.",
            example: "user remove ada --org contoso")
        @Argument(help: "The person's name or id.") var name: String
        @Flag(help: "Remove the person even if they are the last System Administrator.") var evenIfLast = false
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            try await PeopleAdministration(organization.session(options)).remove(name, evenIfLast: evenIfLast)
            options.report(["removed": .string(name)], "Removed \(name).")
        }
    }

    struct EndSessions: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "end-sessions", abstract: "End all sessions of a person. The person can sign in again.",
            example: "user end-sessions ada --org contoso")
        @Argument(help: "The person's name.") var name: String
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let people = try await PeopleAdministration(organization.session(options))
            try await people.endSessions(of: people.id(of: name))
            options.report(["ended": .string(name)], "Ended the sessions of \(name).")
        }
    }

    struct RequireSecondFactor: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "require-second-factor",
            abstract: "Set the roles in which people of an organization need one-time passwords.",
            discussion: """
                A person in such a role without one-time passwords sets them up before any other page opens. Without --role and \
                --all, one-time passwords become optional for all roles. The command connects as the role that migrates. The \
                setting is attested, so SQL can't change it.
                """,
            example: "user require-second-factor --role \"System Administrator\" --org contoso")
        @Option(help: "A role that needs one-time passwords. May be given several times.") var role: [PersonRole] = []
        @Flag(help: "Require one-time passwords for every role.") var all = false
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let (deployment, settings) = try await options.deployment(of: organization.name)
            let name = try await organization.resolved(deployment)
            let roles = all ? PersonRole.allCases : role
            let registry = OrganizationRegistry(
                conninfo: settings.migrationDatabase, kek: deployment.kek, policy: deployment.policy)
            try await registry.requireSecondFactor(of: Set(roles.map(\.role)), in: name, by: commandLineCaller)
            let names = PersonRole.allCases.filter(roles.contains).map(\.rawValue)
            options.report(
                ["organization": .string(name), "roles": .array(names.map { .string($0) })],
                names.isEmpty
                    ? "No role of \(name) needs one-time passwords."
                    : "These roles of \(name) need one-time passwords: \(names.joined(separator: ", ")).")
        }
    }
}
