import ArgumentParser
import Foundation
import JSON
import Organizations
import Tenancy

extension Org {
    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove an organization with all of its records, cells, events, keys, clients and people.",
            discussion: """
                The command asks for the organization's name, suspends the organization, exports it with --export, and removes \
                everything in one transaction. After an interruption, the organization stays suspended, and `fieldseal doctor` \
                reports it. Run the same command again to finish the removal, or `fieldseal org resume` to undo it.
                """,
            example: "org remove contoso --export /mnt/safe/contoso.export")
        @Argument(help: "The organization.") var name: String
        @Option(help: ArgumentHelp("First export the organization into this file.", valueName: "file")) var export: String?
        @Flag(help: "Remove the organization without an export.") var withoutExport = false
        @Flag(help: "Replace the file of the export if it exists.") var force = false
        @OptionGroup var options: CommandOptions

        func validate() throws {
            guard (export == nil) == withoutExport else {
                throw ValidationError("Say whether to export the data first: --export FILE, or --without-export.")
            }
            guard !force || export != nil else { throw ValidationError("--force needs --export.") }
        }

        func run() async throws {
            let (deployment, settings) = try await options.deployment(of: name)
            let removal = OrganizationRemoval(
                OrganizationRegistry(conninfo: settings.migrationDatabase, kek: deployment.kek, policy: deployment.policy))
            let plan = try await removal.plan(name: name)
            if let export { try check(plan, export) }
            try askForName(plan)
            let problem = try await removal.begin(plan.organization, by: commandLineCaller)
            if let problem {
                FileHandle.standardError.write(Data("No security event was recorded: \(problem)\n".utf8))
            }
            let manifest = try await export.map { try ExportFileRequest(name: name, file: $0, force: force) }?
                .run(deployment, settings)
            let summary = try await removal.finish(plan.organization)
            options.report(json(summary, manifest), text(summary, manifest))
        }

        /// Throws if the export before the removal can't be made, or could not be opened later.
        private func check(_ plan: OrganizationRemoval.Plan, _ file: String) throws {
            guard plan.hasSchema else {
                throw CommandFailure(
                    "\(name) can't be exported: its schema is missing. Nothing was changed. To remove what is left: --without-export."
                )
            }
            guard plan.isKeyCopied else {
                throw CommandFailure(
                    "The key of \(name) was never copied out, and it is removed too: nothing would open the export. Nothing was "
                        + "changed. First: fieldseal key show --org \(name) --file KEYFILE.")
            }
            try ExportFileRequest.refuseExisting(file, force: force)
        }

        private func askForName(_ plan: OrganizationRemoval.Plan) throws {
            let begun = plan.begunOn.map { "Its removal began on \(ISO8601.text($0)).\n" } ?? ""
            FileHandle.standardError.write(
                Data(
                    """
                    \(begun)This removes \(name) (\(plan.organization.id.text)): all records, cells, events, keys, clients and people. \
                    It can't be undone.
                    \(export.map { "It is exported to \($0) before." } ?? "It is NOT exported before.")
                    Type \(name) to remove it: 
                    """.utf8))
            guard Swift.readLine(strippingNewline: true) == name else {
                throw CommandFailure("The name was not typed, so nothing was changed.")
            }
        }

        /// Sentences about copies of the organization's data that a removal can't delete.
        private static let remains = [
            "Older backups, dumps and archived WAL hold its cells and its wrapped keys. They open with the "
                + "key-encryption key of their time, or with a key text that was copied out. Let them expire, or destroy them.",
            "Replicas remove its data when they have replayed the removal. Snapshots of file systems and free blocks of disks may "
                + "keep its files.",
            "Key texts, recovery sheets, exports and archives of events stay where they were put.",
            "Logs of servers and routers name the organization and its clients. Servers forget its key at their next restart.",
        ]

        private func json(_ summary: OrganizationRemoval.Summary, _ manifest: ExportManifest?) -> JSONValue {
            [
                "organization": .string(name), "id": .string(summary.organization.id.text),
                "export": .text(export), "exportDigest": .text(manifest?.dumpDigest),
                "keys": .array(
                    summary.keys.map { ["version": .integer(Int64($0.version)), "fingerprint": .string($0.fingerprint)] }),
                "events": summary.events.map { .integer(Int64($0)) } ?? .null, "head": .text(summary.head),
                "remains": .array(Self.remains.map { .string($0) }),
            ]
        }

        private func text(_ summary: OrganizationRemoval.Summary, _ manifest: ExportManifest?) -> String {
            let keys = summary.keys.map { "version \($0.version) \($0.fingerprint)" }.joined(separator: ", ")
            return """
                Removed \(name) (\(summary.organization.id.text)). Keep this report: the deployment has no trace of it any more.
                \(manifest.map { "Exported to \(export ?? ""), SHA-256 of the dump \($0.dumpDigest)." } ?? "It was not exported.")
                Keys: \(keys.isEmpty ? "none" : keys).
                Security events: \(summary.events.map { "\($0), the newest with the hash \(summary.head ?? "none")" } ?? "unknown").
                What still holds its data:
                \(Self.remains.map { "  \($0)" }.joined(separator: "\n"))
                """
        }
    }
}
