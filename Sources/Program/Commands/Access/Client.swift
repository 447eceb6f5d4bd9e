import ArgumentParser
import Authentication
import Foundation
import JSON
import Model
import Tenancy

/// The command `client`, which manages an organization's API clients.
struct Client: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Add, list, change and remove the programs that may use an organization's Web API.",
        subcommands: [
            Add.self, Rotate.self, AddKey.self, AddCertificate.self, RemoveKey.self, List.self, SetRole.self, Disable.self,
            Enable.self, Remove.self,
        ])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a client. Its secret is shown once. With --public-key or --certificate it has no secret.",
            example: "client add crm-import --org contoso --role \"Basic User\" --expires 365")
        @Argument(help: "The client's name, such as crm-import.") var name: String
        @Option(help: "The client's role: System Administrator, Email Administrator, Basic User or Email Router.") var role: Role
        @Option(help: ArgumentHelp("The client's public key or certificate, in PEM.", valueName: "file")) var publicKey: String?
        @Option(help: ArgumentHelp("The certificate that the client shows in the TLS handshake, in PEM.", valueName: "file"))
        var certificate: String?
        @Flag(help: "With --certificate: the client's tokens are valid only on connections with the certificate.") var bindTokens =
            false
        @Option(help: ArgumentHelp("Days after which the secret expires.", valueName: "days")) var expires: Int?
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func validate() throws {
            try requireDays(expires)
            guard expires == nil || publicKey == nil && certificate == nil else {
                throw ValidationError("--expires is for secrets. The key of a certificate expires with the certificate.")
            }
            guard publicKey == nil || certificate == nil else {
                throw ValidationError(
                    "Give --public-key or --certificate, not both. `fieldseal client add-certificate` adds a certificate later.")
            }
            guard !bindTokens || certificate != nil else { throw ValidationError("--bind-tokens needs --certificate.") }
        }

        func run() async throws {
            let key = try publicKey.map(readClientKey) ?? certificate.map { try readClientCertificate($0, bindTokens) }
            let clients = try await ClientAdministration(organization.session(options))
            guard let key else { return try await addWithSecret(clients) }
            let id = try await clients.add(name: name, role: role, key: key)
            options.report(
                [
                    "clientId": .string(id.text), "role": .string(role.rawValue), "key": .string(key.kind),
                    "fingerprint": .string(key.fingerprint),
                ],
                """
                client id  \(id.text)
                key        \(key.kind), SHA-256 \(key.fingerprint)
                \(certificate == nil
                    ? "The client authenticates with assertions that its private key signs (private_key_jwt)."
                    : "The client authenticates with the certificate. Set https.clientCertificates to optional.")
                """)
        }

        private func addWithSecret(_ clients: ClientAdministration) async throws {
            _ = try await clients.add(
                name: name, role: role, secretSeconds: expires.map { $0 * secondsOfDay }
            ) { [options, role] id, secret in
                try options.secretReport(
                    ["clientId": .string(id.text), "clientSecret": .string(secret), "role": .string(role.rawValue)],
                    """
                    client id      \(id.text)
                    client secret  \(secret)
                    The secret is shown only now and stored nowhere.
                    """, lost: "No client was added.")
            }
        }
    }

    struct AddKey: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "add-key", abstract: "Add a public key to a client, which can authenticate with it from then on.",
            example: "client add-key crm-import /root/crm-import.pem --org contoso")
        @Argument(help: "The client's name or id.") var client: String
        @Argument(help: "The public key or certificate, in PEM.") var file: String
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let key = try readClientKey(file)
            let id = try await ClientAdministration(organization.session(options)).addKey(key, to: client)
            options.report(
                ["keyId": .string(id.text), "key": .string(key.kind), "fingerprint": .string(key.fingerprint)],
                "Added the key \(id.text) of \(client): \(key.kind), SHA-256 \(key.fingerprint).")
        }
    }

    struct AddCertificate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "add-certificate",
            abstract: "Add a certificate to a client, which can authenticate with it in the TLS handshake from then on.",
            discussion: "The client can use the certificate until it expires, or until `client remove-key` removes it.",
            example: "client add-certificate crm-import /root/crm-import.pem --bind-tokens --org contoso")
        @Argument(help: "The client's name or id.") var client: String
        @Argument(help: "The certificate, in PEM.") var file: String
        @Flag(help: "The client's tokens are valid only on connections with the certificate.") var bindTokens = false
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let key = try readClientCertificate(file, bindTokens)
            let id = try await ClientAdministration(organization.session(options)).addKey(key, to: client)
            options.report(
                ["keyId": .string(id.text), "key": .string(key.kind), "fingerprint": .string(key.fingerprint)],
                "Added the certificate \(id.text) of \(client): \(key.kind), key of SHA-256 \(key.fingerprint).")
        }
    }

    struct RemoveKey: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "remove-key",
            abstract: "Remove a public key or certificate. The service then refuses authentication with that key.",
            discussion:
                "Tokens that were issued earlier remain valid for up to an hour. To end these tokens too, disable the client.",
            example: "client remove-key crm-import 7c4a8d09-0000-4000-8000-000000000001 --org contoso")
        @Argument(help: "The client's name or id.") var client: String
        @Argument(help: "The key's id, as client list shows it.") var key: String
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func validate() throws {
            guard UUID(text: key) != nil else {
                throw ValidationError("\(key) is not the id of a key. `fieldseal client list` shows the ids.")
            }
        }

        func run() async throws {
            guard let id = UUID(text: key) else { return }
            try await ClientAdministration(organization.session(options)).removeKey(id, of: client)
            options.report(["removed": .string(id.text)], "Removed the key \(id.text) of \(client).")
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the clients.",
            example: "client list --org contoso")
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let entries = try await ClientAdministration(organization.session(options)).list()
            options.report(
                .array(
                    entries.map { entry in
                        [
                            "clientId": .string(entry.id.text), "name": .string(entry.name), "role": .string(entry.role),
                            "createdOn": .string(ISO8601.text(entry.createdOn)),
                            "disabledOn": .text(entry.disabledOn.map(ISO8601.text)), "honoured": .bool(entry.isAuthentic),
                            "keys": .array(entry.keys.map(Self.json)), "secrets": .array(entry.secrets.map(Self.json)),
                        ]
                    }),
                entries.map { entry in
                    let line =
                        "\(entry.id.text)  \(entry.name.onOneLine)  \(entry.role)" + (entry.disabledOn == nil ? "" : "  disabled")
                        + (entry.isAuthentic ? "" : Self.foreign)
                    return ([line] + entry.keys.map(Self.text) + entry.secrets.map(Self.text)).joined(separator: "\n")
                }.joined(separator: "\n"))
        }

        private static let foreign = "  not honoured: its row was not made by this service"

        private static func json(_ key: ClientAdministration.KeyEntry) -> JSONValue {
            [
                "keyId": .string(key.id.text), "key": .string(key.kind), "fingerprint": .string(key.fingerprint),
                "expiresOn": .text(key.expiresOn.map(ISO8601.text)), "certificate": .text(key.certificate),
                "bindsTokens": .bool(key.bindsTokens), "honoured": .bool(key.isAuthentic),
            ]
        }

        private static func json(_ secret: ClientAdministration.SecretEntry) -> JSONValue {
            [
                "secretId": .string(secret.id.text), "createdOn": .string(ISO8601.text(secret.createdOn)),
                "expiresOn": .text(secret.expiresOn.map(ISO8601.text)), "honoured": .bool(secret.isAuthentic),
            ]
        }

        private static func text(_ secret: ClientAdministration.SecretEntry) -> String {
            let ends = secret.expiresOn.map { "  \($0 < Date() ? "expired on" : "until") \(ISO8601.text($0))" } ?? ""
            return "    secret of \(ISO8601.text(secret.createdOn))\(ends)" + (secret.isAuthentic ? "" : foreign)
        }

        private static func text(_ key: ClientAdministration.KeyEntry) -> String {
            "    \(key.certificate == nil ? "key" : "certificate") \(key.id.text)  \(key.kind)  "
                + "SHA-256 \(key.certificate ?? key.fingerprint)" + (key.bindsTokens ? "  binds tokens" : "")
                + (key.expiresOn.map { "  until \(ISO8601.text($0))" } ?? "") + (key.isAuthentic ? "" : foreign)
        }
    }

    struct Disable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Disable a client. Its tokens are refused at once.",
            example: "client disable crm-import --org contoso")
        @Argument(help: "The client's name or id.") var client: String
        @Flag(help: "Disable the client even if it is the last System Administrator.") var evenIfLast = false
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            try await ClientAdministration(organization.session(options)).disable(client, evenIfLast: evenIfLast)
            options.report(["disabled": .string(client)], "Disabled \(client).")
        }
    }
}

extension Role: ExpressibleByArgument {}

private func readClientCertificate(_ file: String, _ bindsTokens: Bool) throws -> ClientKey {
    guard let text = try? String(contentsOfFile: file, encoding: .utf8) else {
        throw CommandFailure("\(file) can't be read: \(FileStatus.obstacle(toReading: file) ?? "it must be a file in PEM").")
    }
    return try ClientKey.certificate(pem: text, bindsTokens: bindsTokens)
}

/// Reads the public key of a client from a file.
private func readClientKey(_ file: String) throws -> ClientKey {
    guard let text = try? String(contentsOfFile: file, encoding: .utf8) else {
        throw CommandFailure("\(file) can't be read: \(FileStatus.obstacle(toReading: file) ?? "it must be a file in PEM").")
    }
    return try ClientKey(pem: text)
}
