import ArgumentParser
import Authentication
import Foundation
import JSON
import Tenancy

/// The command `issuer`, which manages the OpenID providers that an organization trusts.
struct Issuer: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Trust OpenID providers, and link their accounts to people and clients.",
        subcommands: [Add.self, List.self, Link.self, Remove.self])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Trust a provider. The service's client secret at the provider is read from the terminal or standard input.",
            discussion: "At the provider, register https://…/ORGANIZATION/sign-in/back as the redirect URI.",
            example: """
                issuer add entra --org contoso --issuer https://login.example.com/v2.0 --client-id \
                11111111-2222-4333-8444-555555555555
                """)
        @Argument(help: "The provider's display name.") var name: String
        @Option(help: ArgumentHelp("The provider's issuer identifier.", valueName: "url")) var issuer: String
        @Option(help: ArgumentHelp("The client id of this service at the provider.", valueName: "id")) var clientID: String
        @Option(help: "The claim that identifies a person: \(TrustedIssuers.claims.joined(separator: ", ")).") var claim = "sub"
        @Flag(help: "This service has no secret at the provider, and uses PKCE alone.") var isPublic = false
        @Option(help: ArgumentHelp("Read the secret from this file (mode 0400 or 0600).", valueName: "file"))
        var secretFile: String?
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let (deployment, settings) = try await options.deployment(of: organization.name)
            let session = try await organization.session(deployment)
            let secret = isPublic ? nil : try SecretInput.read(prompt: "Client secret", file: secretFile)
            try await IssuerAdministration(session).add(
                name: name, issuer: issuer, clientID: clientID, secret: secret, claim: claim)
            let address = "\(settings.baseURL)/\(session.organization.name)/sign-in/back"
            options.report(
                ["name": .string(name), "issuer": .string(issuer), "redirectURI": .string(address)],
                "People may sign in with \(name) once they are linked. At the provider, register the redirect URI \(address).")
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the providers.",
            example: "issuer list --org contoso")
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let (deployment, _) = try await options.deployment(of: organization.name)
            let entries = try await TrustedIssuers(deployment).list(organization.session(deployment).organization)
            options.report(
                .array(
                    entries.map { entry in
                        [
                            "name": .string(entry.name), "issuer": .string(entry.issuer), "clientId": .string(entry.clientID),
                            "claim": .string(entry.claim), "honoured": .bool(entry.isAuthentic),
                        ]
                    }),
                entries.isEmpty
                    ? "There is no provider yet: fieldseal issuer add."
                    : entries.map { entry in
                        "\(entry.name)  \(entry.issuer)  as \(entry.clientID), by \(entry.claim)"
                            + (entry.isAuthentic ? "" : "  not made by this service: not honoured")
                    }.joined(separator: "\n"))
        }
    }

    struct Link: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Link an account of a provider to a person of the console, or to a client of the Web API.",
            example: "issuer link entra ada@example.com --user ada --org contoso")
        @Argument(help: "The provider's name.") var name: String
        @Argument(help: "The value of the claim that identifies the account at the provider.") var subject: String
        @Option(help: "The person, by name.") var user: String?
        @Option(help: "The client, by name or id.") var client: String?
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            try await IssuerAdministration(organization.session(options)).link(subject, of: name, user: user, client: client)
            options.report(
                ["subject": .string(subject), "is": .string(user ?? client ?? "")],
                "\(subject) of \(name) is \(user ?? client ?? "").")
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a provider and its links.",
            example: "issuer remove entra --org contoso")
        @Argument(help: "The provider's name or id.") var name: String
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            try await IssuerAdministration(organization.session(options)).remove(name)
            options.report(["removed": .string(name)], "\(name) is not trusted any more.")
        }
    }
}
