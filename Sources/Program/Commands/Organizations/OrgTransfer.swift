import ArgumentParser
import CellCrypto
import Foundation
import Glibc
import JSON
import KeyManagement
import Organizations
import SystemPackage
import Tenancy

extension Org {
    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write an organization into a file: pg_dump's custom format, with a manifest behind it.",
            discussion: "The cells stay sealed, and the key is not in the file: copy it out with `fieldseal key show`.",
            example: "org export contoso /mnt/safe/contoso.export")
        @Argument(help: "The organization.") var name: String
        @Argument(help: "The file to write, readable by its owner alone.") var file: String
        @Flag(help: "Replace the file if it exists.") var force = false
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let (deployment, settings) = try await options.deployment(of: name)
            let manifest = try await ExportFileRequest(name: name, file: file, force: force).run(deployment, settings)
            let authenticity =
                manifest.authentication == nil
                ? "It carries no authentication, because the deployment does not have the organization's key. So a changed file "
                    + "can't be detected.\n"
                : ""
            options.report(
                manifest.json,
                """
                Wrote \(file): \(manifest.summary)
                \(authenticity)The key is not in the file. An import needs the key: fieldseal key show --org \(name).
                """)
        }
    }

    struct Inspect: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the contents of an export and which key opens it, without a database.",
            example: "org inspect /mnt/safe/contoso.export --key-file /mnt/safe/contoso.key")
        @Argument(help: "A file that `org export` wrote.") var file: String
        @Flag(help: "Read a key from the terminal or standard input, and say whether it opens the export's cells.") var key = false
        @Option(help: ArgumentHelp("Read the key from this file (mode 0400 or 0600).", valueName: "file"))
        var keyFile: String?
        @Flag(help: "Print JSON.") var json = false

        func run() async throws {
            let export = try ExportFile(reading: file)
            let manifest = try export.manifest()
            try export.verify(manifest)
            var isRight: Bool?
            var isAuthentic = false
            if key || keyFile != nil {
                let text = OrganizationKeyText(try SecretInput.read(prompt: "Key", file: keyFile))
                isRight = try manifest.isOpened(by: text)
                if isRight == true { isAuthentic = try manifest.isAuthentic(under: text) }
            }
            if json {
                var value = manifest.json
                if let isRight, case .object(let members) = value {
                    value = .object(members + [.init("keyIsRight", .bool(isRight)), .init("isAuthentic", .bool(isAuthentic))])
                }
                CommandOutput.line(String(decoding: value.utf8, as: UTF8.self))
            } else {
                CommandOutput.line(manifest.summary)
                if let isRight { CommandOutput.line(isRight ? "The key is the right one." : "The key is not the right one.") }
                CommandOutput.line(manifest.authenticity(isAuthentic ? .shown : isRight == false ? .underAnotherKey : .unchecked))
            }
            if isRight == false { throw ExitCode(1) }
        }
    }

    struct Import: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "import",
            abstract: "Make an organization from a file that `org export` wrote.",
            discussion: """
                The program makes the schema itself, and takes only rows from the file. The organization keeps its id, because its \
                cells are bound to the id. Without its key, it is in the state key required until you activate it. With --as-new, \
                the import makes a clone with another id and another key. This needs the original's key, because every cell is \
                sealed again.
                """,
            example: "org import /mnt/safe/contoso.export --name contoso-test --as-new")
        @Argument(help: "A file that `org export` wrote.") var file: String
        @Option(help: "Another name for the organization than in the export.") var name: String?
        @Flag(help: "Make a clone with another id and another key. Needs the original's key.") var asNew = false
        @Flag(help: "Activate the organization with its key, from the terminal or standard input.") var key = false
        @Option(help: ArgumentHelp("Read the key from this file (mode 0400 or 0600).", valueName: "file"))
        var keyFile: String?
        @Option(
            help: ArgumentHelp(
                "Leave out a table, or a column as table.column, that this program does not know. May be given several times.",
                valueName: "name"))
        var discard: [String] = []
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let export = try ExportFile(reading: file)
            let manifest = try export.manifest()
            let stamp = try export.verify(manifest)
            let text =
                key || asNew || keyFile != nil
                ? try SecretInput.read(prompt: "Key of version \(manifest.keyVersion)", file: keyFile) : nil
            let request = OrganizationImport(
                manifest, as: name ?? manifest.organization, isNew: asNew, key: text.map { OrganizationKeyText($0) },
                discards: discard)
            let deployment = try await options.naming(request.name) { deployment, settings, _ in
                let registry = OrganizationRegistry(
                    conninfo: settings.migrationDatabase, kek: deployment.kek, policy: deployment.policy)
                try await take(request, from: export, stamp, into: registry)
                return deployment
            }
            if !asNew, let text {
                try await KeyAdministration(
                    Session.begin(deployment, organization: request.name, caller: commandLineCaller), to: .activate
                )
                .setDataEncryptionKey(text, change: false)
            }
            try await report(request, deployment)
        }

        private func take(
            _ request: OrganizationImport, from export: ExportFile, _ stamp: FileStatus, into registry: OrganizationRegistry
        ) async throws {
            let rows = try RowsOfExport(export, schema: request.manifest.schema)
            do {
                _ = try await registry.importOrganization(
                    request, rows: rows.read,
                    confirm: {
                        try await rows.end()
                        try export.requireUnchanged(since: stamp)
                    }, by: commandLineCaller)
            } catch {
                await rows.abandon()
                throw error
            }
        }

        private func report(_ request: OrganizationImport, _ deployment: Deployment) async throws {
            let manifest = request.manifest
            let session = try await Session.begin(deployment, organization: request.name, caller: commandLineCaller)
            let status = try await KeyAdministration(session, to: .see).encryptionStatus()
            let isAuthentic = request.key != nil && manifest.authentication != nil
            let own = asNew ? "\nThe clone has a new generated key: fieldseal key show --org \(request.name)." : ""
            options.report(
                .object(
                    [
                        .init("organization", .string(request.name)), .init("id", .string(session.organization.id.text)),
                        .init("cells", .integer(Int64(manifest.cellCount))), .init("isAuthentic", .bool(isAuthentic)),
                    ] + status.members),
                """
                Imported \(request.name) (\(session.organization.id.text)) with \(manifest.cellCount) cells. \(status.text)\(own)
                \(manifest.authenticity(isAuthentic ? .shown : .unchecked))
                Every mailbox is disabled until it is tested and enabled again. API clients are not imported: add them again.
                """)
        }
    }
}

/// The rows of an export, printed by `pg_restore` into a pipe.
private struct RowsOfExport: Sendable {
    private let output: FileDescriptor
    private let tool: Task<Void, any Error>

    init(_ export: ExportFile, schema: String) throws {
        let tools = try PostgresTools()
        let (output, input) = try FileDescriptor.pipe()
        // The child process must not inherit the pipe's reading end. Otherwise closing the pipe early would not end `pg_restore`.
        _ = fcntl(output.rawValue, F_SETFD, FD_CLOEXEC)
        self.output = output
        tool = Task { try await tools.printRows(schema: schema, of: export, to: input) }
    }

    /// Fills a buffer, and returns the number of bytes; 0 at the end.
    func read(_ buffer: UnsafeMutableRawBufferPointer) throws -> Int { try output.read(into: buffer) }

    /// Waits until `pg_restore` has printed all rows.
    ///
    /// - Throws: ``ToolError`` when `pg_restore` failed.
    func end() async throws {
        try await tool.value
        try output.close()
    }

    /// Closes the pipe, which makes `pg_restore` end.
    func abandon() async {
        try? output.close()
        _ = try? await tool.value
    }
}

/// Whether a file's authenticity was checked, and with which result.
private enum Authenticity {
    case shown, underAnotherKey, unchecked
}

extension ExportManifest {
    /// A sentence that says whether the file is known to be authentic.
    fileprivate func authenticity(_ known: Authenticity) -> String {
        if known == .shown { return "It is authentic: since the export, only a person with the key could have changed it." }
        if known == .underAnotherKey, authentication != nil {
            return "Its authenticity was not checked, since this key does not open it."
        }
        return authentication == nil
            ? "Its authenticity was not checked: it carries no authentication, and could have been changed since it was exported."
            : "Its authenticity was not checked, since no key was given: --key checks it."
    }

    /// The text output.
    var summary: String {
        """
        \(organization) (\(organizationID.text)), exported on \(ISO8601.text(exportedOn)) by version \(productVersion), \
        schema \(schemaVersion).
        \(cellCount) cells: \(cells.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")).
        The key that opens them has version \(keyVersion) and fingerprint \(fingerprint), and was set on \
        \(ISO8601.text(keySetOn)).
        """
    }
}
