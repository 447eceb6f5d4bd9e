import ArgumentParser
import Foundation
import JSON
import Organizations
import Tenancy

extension Org {
    struct Upgrade: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Seal the passwords of a schema that keeps them in text columns.",
            discussion: """
                The command makes new tables in one transaction. Rows keep their ids, passwords move into cells under a generated \
                key, and the old tables and their files are dropped. Meanwhile, the tables can't be read or written. The command \
                lists data that the new tables can't hold, and drops such data only if --discard names it. Afterwards the command \
                searches the database's files for remaining passwords.
                """,
            example: "org upgrade contoso --from-plaintext --rehearse")
        @Argument(help: "The organization's name; its schema is org_NAME.") var name: String
        @Flag(help: "Say that the passwords are in text columns.") var fromPlaintext = false
        @Flag(help: "Run the upgrade, report the number of passwords, the duration and what would be lost, then roll back.")
        var rehearse = false
        @Option(
            help: ArgumentHelp(
                "The name of data that may be lost, as the rehearsal lists it. May be given several times.", valueName: "name"))
        var discard: [String] = []
        @OptionGroup var options: CommandOptions

        func validate() throws {
            guard fromPlaintext else { throw ValidationError("Say what to upgrade from: --from-plaintext.") }
        }

        func run() async throws {
            let (deployment, settings) = try await options.deployment(of: name)
            let registry = OrganizationRegistry(
                conninfo: settings.migrationDatabase, kek: deployment.kek, policy: deployment.policy)
            let summary = try await registry.upgradeFromPlaintext(
                name: name, isRehearsal: rehearse, discards: discard, by: commandLineCaller)
            let seconds = summary.duration / .seconds(1)
            var members: [JSONValue.Member] = [
                .init("organization", .string(name)), .init("id", .string(summary.organization.id.text)),
                .init("rehearsal", .bool(rehearse)), .init("cells", .integer(Int64(summary.cells))),
                .init("seconds", .number(String(format: "%.3f", seconds))),
                .init("records", .object(summary.records.map { .init($0.table, .integer(Int64($0.count))) })),
                .init("losses", .array(summary.losses.map { ["name": .string($0.name), "what": .string($0.description)] })),
            ]
            var lines = [
                "\(rehearse ? "Would seal" : "Sealed") \(summary.cells) passwords of \(name) in \(String(format: "%.2f", seconds)) s, "
                    + summary.records.map { "\($0.count) \($0.table)" }.joined(separator: ", ") + "."
            ]
            lines += summary.losses.map { "\(rehearse ? "Would lose" : "Lost"): \($0.description)" }
            if rehearse {
                lines.append("Nothing was changed. An upgrade blocks writers and readers of these tables for that time.")
            } else {
                let (found, text) = try await scan(summary.plaintexts, registry)
                members.append(.init("dataFiles", found))
                lines += [text] + Self.remains
                members.append(.init("remains", .array(Self.remains.map { .string($0) })))
            }
            if !summary.unaccepted.isEmpty {
                lines.append(
                    "The upgrade is refused until you accept these losses: "
                        + summary.unaccepted.map { "--discard '\($0)'" }.joined(separator: " "))
            }
            options.report(.object(members), lines.joined(separator: "\n"))
            if !summary.unaccepted.isEmpty { throw ExitCode.failure }
        }

        /// Searches the database's files for passwords, if this program may read the files.
        private func scan(_ plaintexts: PlaintextScan, _ registry: OrganizationRegistry) async throws -> (JSONValue, String) {
            guard let folders = try await registry.settleFiles() else {
                return (
                    .null,
                    "The database's files were not searched: only a connection as a superuser can do that. Until VACUUM FULL "
                        + "pg_statistic, the planner's statistics hold some of the passwords."
                )
            }
            do {
                let (searched, bytes, hits) = try plaintexts.files(below: folders.data)
                let log = try plaintexts.files(below: folders.log).hits
                return (
                    [
                        "searched": .integer(Int64(searched)), "bytes": .integer(Int64(bytes)),
                        "values": .integer(Int64(plaintexts.count)), "hits": .array(hits.map { .string($0) }),
                        "walSegments": .array(log.map { .string($0) }),
                    ],
                    hits.isEmpty
                        ? "None of \(plaintexts.count) passwords is left in the database's \(searched) files (\(bytes >> 20) MiB); "
                            + "\(log.count) WAL segments hold some until they are recycled."
                        : "These files still hold a password: \(hits.joined(separator: ", "))."
                )
            } catch {
                return (
                    .null,
                    "The database's files were not searched: \(folders.data) can't be read here. Run this on the database's machine."
                )
            }
        }

        /// Sentences about copies of passwords that the upgrade can't delete.
        private static let remains = [
            "Passwords may still be in: WAL segments and their archives, until they are recycled and expired;",
            "backups and dumps that were made before; replicas, until they have replayed this; snapshots of the file system;",
            "PostgreSQL's log, if it logs statements; and the programs that wrote those columns. Set new passwords where that "
                + "matters.",
        ]
    }
}
