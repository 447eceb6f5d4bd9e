import ArgumentParser
import Diagnostics
import Foundation
import JSON
import KeyManagement
import Model
import Organizations
import Tenancy

/// The command `org`, which manages organizations.
struct Org: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "org",
        abstract: "Create, list, move, suspend, rename and remove organizations.",
        subcommands: [
            Create.self, List.self, Show.self, Suspend.self, Resume.self, Rename.self, Move.self, Export.self, Inspect.self,
            Import.self,
            Attach.self, Upgrade.self, Remove.self,
        ])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create an organization, active from its first moment under a generated key.",
            example: "org create contoso")
        @Argument(help: "The new organization's name: at most 39 lower-case letters, digits and hyphens.") var name: String
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let (organization, database) = try await options.naming(name) { deployment, settings, database in
                let registry = OrganizationRegistry(
                    conninfo: settings.migrationDatabase, kek: deployment.kek, policy: deployment.policy)
                return (try await registry.create(name: name, by: commandLineCaller), database)
            }
            options.report(
                [
                    "organization": .string(name), "id": .string(organization.id.text), "schema": .string(organization.schema),
                    "database": .string(database),
                ],
                """
                Created \(name) (\(organization.id.text)) in the schema \(organization.schema) of the database \(database).
                It is active under a generated key. Next: copy the key to a safe place (fieldseal key show --org \(name)), \
                or change it (fieldseal key change --org \(name)).
                """)
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show an organization and the state of its key.",
            example: "org show contoso")
        @Argument(help: "The organization's name; not needed if there is only one.") var name: String?
        @OptionGroup var options: CommandOptions

        func run() async throws {
            var organization = OrganizationOption()
            organization.name = name
            let session = try await organization.session(options)
            let status = try await KeyAdministration(session, to: .see).encryptionStatus()
            options.report(
                .object(
                    [
                        .init("organization", .string(session.organization.name)),
                        .init("id", .string(session.organization.id.text)),
                        .init("schema", .string(session.organization.schema)),
                    ] + status.members),
                """
                \(session.organization.name)  \(session.organization.id.text)  schema \(session.organization.schema)
                \(status.text)
                """)
        }
    }

    struct Attach: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Register a schema that exists already, or accept the state of an organization after a restore.",
            discussion: """
                For a schema that a DBA restored, or that was left over when config was lost. For a registered organization, the \
                command prints what differs from the state that this service wrote, asks, and then accepts the present state. Rows \
                that this service did not write still grant nothing, and people sign in again. A security event records this.

                If the list of attested rows was lost or changed, the service can't tell revoked rows from valid ones. So it \
                disables every client and every person. Enable each client that you recognize (client enable) and replace its \
                secret (client rotate). Give each person that you recognize a new password (user reset), which enables the person.
                """,
            example: "org attach contoso")
        @Argument(help: "The organization's name; its schema is org_NAME.") var name: String
        @Flag(help: "Accept what differs without asking.") var yes = false
        @Flag(
            help: "If the list is lost, honour every row with a valid tag, including revoked rows. Only after a restore on purpose."
        )
        var trustTags = false
        @Option(
            help:
                "Accept this key version, which this service never stored. Only after a restore of an older config on purpose."
        )
        var keyVersion: Int?
        @OptionGroup var options: CommandOptions

        func run() async throws {
            // A registered organization is found by its name. An unregistered schema is looked for in the named database.
            let chosen = (try? await options.located(name)) ?? options
            let (deployment, settings) = try await chosen.deployment()
            let registry = OrganizationRegistry(
                conninfo: settings.migrationDatabase, kek: deployment.kek, policy: deployment.policy)
            if try await registry.isRegistered(name) { return try await attestAgain(registry) }
            try await chosen.naming(name) { _, _, _ in try await attach(registry, deployment, settings) }
        }

        private func attach(_ registry: OrganizationRegistry, _ deployment: Deployment, _ settings: Settings) async throws {
            _ = try await registry.attach(name: name, by: commandLineCaller)
            let session = try await Session.begin(deployment, organization: name, caller: commandLineCaller)
            let status = try await KeyAdministration(session, to: .see).encryptionStatus()
            let foreign = try await Doctor(
                deployment, administrativeConninfo: settings.migrationDatabase, kekFile: settings.kekSource.file, kekCopyFile: nil
            ).definitions(of: session.organization)
            options.report(
                .object(
                    [.init("organization", .string(name)), .init("differences", .array(foreign.map { .string($0.message) }))]
                        + status.members),
                "Attached \(name). \(status.text)\nEvery mailbox is disabled until it is tested and enabled again."
                    + foreign.map { "\n\($0.severity.rawValue.uppercased())  \($0.message.asTerminalLine)" }.joined())
        }

        private func attestAgain(_ registry: OrganizationRegistry) async throws {
            let found = try await registry.attestationReport(of: name, trustingTags: trustTags)
            if let replaced = found.replacedVersion, keyVersion != found.keyVersion {
                throw CommandFailure(
                    "Nothing was changed. \(name) names key version \(found.keyVersion), which this service never stored; version "
                        + "\(replaced) was in force. If SQL changed the version, the passwords are still under version "
                        + "\(replaced), unless its tables were dropped: restore the schema from a backup or, as a superuser, the row of "
                        + "the table encryption. If you restored an older config on purpose, run this again with --key-version "
                        + "\(found.keyVersion).")
            }
            if !yes {
                FileHandle.standardError.write(Data("\(found.text(name))\nType \(name) to accept this state: ".utf8))
                guard Swift.readLine(strippingNewline: true) == name else {
                    throw CommandFailure("Nothing was changed: the name was not typed.")
                }
            }
            let report = try await registry.attestAgain(name: name, as: found, trustingTags: trustTags, by: commandLineCaller)
            options.report(
                [
                    "organization": .string(name), "differences": .array(report.differences.map { .string($0) }),
                    "honoured": .array(report.authentic.map { .string($0) }),
                    "notHonoured": .array(report.notHonoured.map { .string($0) }),
                    "keyVersion": .integer(Int64(report.keyVersion)), "events": .integer(Int64(report.events)),
                ],
                "\(report.text(name))\nThe present state of \(name) is accepted. Every person has to sign in to its console again.")
        }
    }
}

extension AttestationReport {
    /// The text output.
    fileprivate func text(_ name: String) -> String {
        let differing =
            differences.isEmpty
            ? ["Nothing differs from what this service last wrote about \(name)."]
            : ["\(name) differs from what this service last wrote:"] + differences.map { "  \($0.asTerminalLine)" }
        let refused =
            notHonoured.isEmpty
            ? []
            : ["Rows that this service did not make, or that were revoked, grant nothing:"]
                + notHonoured.map { "  \($0.asTerminalLine)" }
        return
            (differing + refused + [
                "Rows that grant access: \(authentic.isEmpty ? "none" : authentic.map(\.asTerminalLine).joined(separator: ", ")).",
                "Key version \(keyVersion); the newest security event is number \(events).",
            ]).joined(separator: "\n")
    }
}

extension EncryptionStatus {
    var members: [JSONValue.Member] {
        [
            .init("state", .string(isActive ? "active" : "key required")), .init("keyVersion", .integer(Int64(keyVersion))),
            .init("fingerprint", .string(fingerprint)), .init("setOn", .string(ISO8601.text(setOn))),
            .init("origin", .text(origin)), .init("copiedOn", .text(copiedOn.map(ISO8601.text))),
            .init("nextChangeDue", .string(ISO8601.text(nextChangeDue))),
        ]
    }

    var text: String {
        guard isActive else {
            return """
                Encryption: key required. Wanted is the key of version \(keyVersion), fingerprint \(fingerprint), \
                set on \(ISO8601.text(setOn)): fieldseal key activate.
                """
        }
        let days = Int(Date().timeIntervalSince(setOn) / 86_400)
        return """
            Encryption: active. Key version \(keyVersion), fingerprint \(fingerprint), \(origin ?? "unknown"), \
            \(days) day\(days == 1 ? "" : "s") old, \(copiedOn == nil ? "never copied out" : "copied out"). \
            Next change due on \(ISO8601.text(nextChangeDue).prefix(10)).
            """
    }
}
