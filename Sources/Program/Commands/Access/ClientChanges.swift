import ArgumentParser
import Authentication
import Foundation
import JSON
import Tenancy

let secondsOfDay = 86_400

/// - Throws: `ValidationError` for a number of days that is out of range.
func requireDays(_ days: Int?) throws {
    guard days.map({ (1...3_650).contains($0) }) ?? true else {
        throw ValidationError("--expires takes 1 to 3650 days.")
    }
}

extension Client {
    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give a client another secret, which is shown once. The previous secret is accepted for another day.",
            discussion: """
                At most two secrets are valid: the new one and the previous one. Older secrets end at once. After a leak, use \
                --overlap 0, which ends the previous secret at once. Its tokens stay valid for up to an hour, unless you disable \
                the client.
                """,
            example: "client rotate crm-import --org contoso --overlap 24")
        @Argument(help: "The client's name or id.") var client: String
        @Option(help: ArgumentHelp("Hours for which the previous secret is accepted, 0 to 720.", valueName: "hours"))
        var overlap = ClientAdministration.overlap / 3_600
        @Option(help: ArgumentHelp("Days after which the new secret expires.", valueName: "days")) var expires: Int?
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func validate() throws {
            try requireDays(expires)
            guard (0...720).contains(overlap) else { throw ValidationError("--overlap takes 0 to 720 hours.") }
        }

        func run() async throws {
            let clients = try await ClientAdministration(organization.session(options))
            let id = try await clients.id(of: client)
            _ = try await clients.rotateSecret(
                of: id, overlap: overlap * 3_600, seconds: expires.map { $0 * secondsOfDay }
            ) { [options, overlap] secret in
                try options.secretReport(
                    ["clientId": .string(id.text), "clientSecret": .string(secret), "overlapHours": .integer(Int64(overlap))],
                    """
                    client id      \(id.text)
                    client secret  \(secret)
                    The secret is shown only now and stored nowhere. \
                    \(overlap == 0 ? "Previous secrets are refused from now on." : "The previous secret is accepted for \(overlap) more hours.")
                    """, lost: "The client keeps the secrets that it has.")
            }
        }
    }

    struct Enable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Enable a client again, with the secrets and keys that it had.",
            example: "client enable crm-import --org contoso")
        @Argument(help: "The client's name or id.") var client: String
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let clients = try await ClientAdministration(organization.session(options))
            try await clients.enable(clients.id(of: client))
            options.report(["enabled": .string(client)], "Enabled \(client).")
        }
    }

    struct SetRole: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "role", abstract: "Give a client another role, from its next request on.",
            example: "client role crm-import \"Email Administrator\" --org contoso")
        @Argument(help: "The client's name or id.") var client: String
        @Argument(help: "The new role: System Administrator, Email Administrator, Basic User or Email Router.") var role: Role
        @Flag(help: "Change the role even if the client is the last System Administrator.") var evenIfLast = false
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let clients = try await ClientAdministration(organization.session(options))
            try await clients.setRole(role, of: clients.id(of: client), evenIfLast: evenIfLast)
            options.report(
                ["client": .string(client), "role": .string(role.rawValue)], "\(client) acts as \(role.rawValue) now.")
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a client with its secrets and keys. Its tokens are refused at once.",
            discussion:
                "The systemuser that the client acted as is disabled and stays, since records name it. To keep the client, use "
                + "`client disable`.",
            example: "client remove crm-import --org contoso")
        @Argument(help: "The client's name or id.") var client: String
        @Flag(help: "Remove the client even if it is the last System Administrator.") var evenIfLast = false
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            try await ClientAdministration(organization.session(options)).remove(client, evenIfLast: evenIfLast)
            options.report(["removed": .string(client)], "Removed \(client).")
        }
    }
}
