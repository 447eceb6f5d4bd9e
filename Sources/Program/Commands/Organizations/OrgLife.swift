import ArgumentParser
import Foundation
import JSON
import Organizations
import Tenancy

extension Org {
    struct Suspend: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Refuse all requests of an organization, until it is resumed.",
            discussion: """
                Its clients, people and routers are refused from their next request on, by every server. Records, cells and keys stay, \
                and the command line works on it as before. Suspending and resuming are security events.
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

    struct Rename: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give an organization another name, and its schema with it.",
            discussion: """
                Its id, key and cells stay. Addresses and tokens have the name in them: clients, routers and people use the new one, \
                and sign in again. Change the setting `hosts`, rights that were granted on the schema's name, and scripts that name it.
                """,
            example: "org rename contoso contoso-europe")
        @Argument(help: "The organization.") var name: String
        @Argument(help: "Lower-case letters, digits and hyphens, at most 39.") var new: String
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

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the organizations with their sizes and the state of their keys.",
            example: "org list --json")
        @OptionGroup var options: CommandOptions

        func run() async throws { try await options.inDatabases(look) }

        @Sendable private func look(_ options: CommandOptions) async throws {
            let organizations = try await OrganizationOverview.list(options.deployment().0)
            options.report(
                .array(organizations.map(\.json)),
                organizations.isEmpty ? "There is none yet: fieldseal org create NAME." : Self.table(organizations))
        }

        private static func table(_ organizations: [OrganizationOverview]) -> String {
            let rows = [["NAME", "STATUS", "SIZE", "CELLS' SIZE", "KEY", "ID"]] + organizations.map(\.columns)
            let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
            return rows.map { row in
                zip(row, widths).map { $0.padding(toLength: $1, withPad: " ", startingAt: 0) }.joined(separator: "  ")
                    .replacing(#/ +$/#, with: "")
            }.joined(separator: "\n")
        }
    }
}

extension OrganizationOverview {
    fileprivate var json: JSONValue {
        [
            "organization": .string(entry.organization.name), "id": .string(entry.organization.id.text),
            "schema": .string(entry.organization.schema), "createdOn": .string(ISO8601.text(entry.createdOn)),
            "attachedOn": .text(entry.attachedOn.map(ISO8601.text)), "status": .string(status.rawValue),
            "missingTables": .array(missingTables.split(separator: ", ").map { .string(String($0)) }),
            "suspendedOn": .text(suspendedOn.map(ISO8601.text)), "bytes": Self.number(bytes),
            "cellBytes": Self.number(cellBytes), "keyState": .string(keyState),
            "keyVersion": Self.number(keyVersion), "keySetOn": .text(keySetOn.map(ISO8601.text)),
            "nextChangeDue": .text(nextChangeDue.map(ISO8601.text)), "keyCopiedOn": .text(keyCopiedOn.map(ISO8601.text)),
        ]
    }

    fileprivate var columns: [String] {
        let due = nextChangeDue.map { ", due \(ISO8601.text($0).prefix(10))" } ?? ""
        let copied = keyState == "active" && keyCopiedOn == nil ? ", never copied out" : ""
        let key = keyVersion.map { "\(keyState), version \($0)\(due)\(copied)" }
        return [
            entry.organization.name, status == .tableMissing ? "\(status.rawValue): \(missingTables)" : status.rawValue,
            Self.size(bytes), Self.size(cellBytes), key ?? "-",
            entry.organization.id.text,
        ]
    }

    private static func number(_ value: Int?) -> JSONValue { value.map { .integer(Int64($0)) } ?? .null }

    private static func size(_ bytes: Int?) -> String {
        bytes.map { String(format: "%.1f MiB", Double($0) / 1_048_576) } ?? "-"
    }
}

extension CommandOptions {
    /// The registry of the database that has an organization, with the role for migrations.
    func registry(of organization: String) async throws -> OrganizationRegistry {
        let (deployment, settings) = try await self.deployment(of: organization)
        return OrganizationRegistry(conninfo: settings.migrationDatabase, kek: deployment.kek, policy: deployment.policy)
    }
}
