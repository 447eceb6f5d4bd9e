import ArgumentParser
import Foundation
import JSON
import Organizations
import Tenancy

extension Org {
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the organizations with their sizes and the state of their keys.",
            example: "org list --json")
        @OptionGroup var options: CommandOptions

        func run() async throws { try await options.inDatabases(list) }

        @Sendable private func list(_ options: CommandOptions) async throws {
            let organizations = try await OrganizationOverview.list(options.deployment().0)
            options.report(
                .array(organizations.map(\.json)),
                organizations.isEmpty ? "There is no organization yet: fieldseal org create NAME." : Self.table(organizations))
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
            "missingTables": .array(missingTables.map { .string($0) }),
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
            entry.organization.name,
            status == .tableMissing ? "\(status.rawValue): \(missingTables.joined(separator: ", "))" : status.rawValue,
            Self.size(bytes), Self.size(cellBytes), key ?? "-",
            entry.organization.id.text,
        ]
    }

    private static func number(_ value: Int?) -> JSONValue { value.map { .integer(Int64($0)) } ?? .null }

    private static func size(_ bytes: Int?) -> String {
        bytes.map { String(format: "%.1f MiB", Double($0) / 1_048_576) } ?? "-"
    }
}
