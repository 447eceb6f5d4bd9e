import ArgumentParser
import CellCrypto
import Fieldseal
import Foundation

extension Org {
    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write an organization into a file: pg_dump's custom format, with a manifest behind it.",
            discussion: "The cells stay sealed, and the key is not in the file: copy it out with `fieldseal key show`.")
        @Argument(help: "The organization.") var name: String
        @Argument(help: "The file to write. It must not exist.") var file: String
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let (deployment, settings) = try await options.deployment()
            guard !FileManager.default.fileExists(atPath: file) else { throw ValidationError("\(file) exists.") }
            // Events that are not in the chain yet count for nothing under another key-encryption key.
            try await Session.begin(deployment, organization: name, caller: commandLineCaller).chainPendingEvents()
            let snapshot = try await OrganizationSnapshot.open(
                name, conninfo: settings.migrationDatabase, productVersion: Program.configuration.version)
            let partial = "\(file).partial"
            let manifest: ExportManifest
            do {
                try await PostgresTools().dump(
                    schema: snapshot.manifest.schema, snapshot: snapshot.id, to: partial, conninfo: settings.migrationDatabase)
                manifest = try ExportFile(partial).append(snapshot.manifest)
                try await Session.begin(deployment, organization: name, caller: commandLineCaller).recordExport(manifest)
                try FileManager.default.moveItem(atPath: partial, toPath: file)
            } catch {
                try? FileManager.default.removeItem(atPath: partial)
                await snapshot.close()
                throw error
            }
            await snapshot.close()
            options.report(
                manifest.json,
                """
                Wrote \(file): \(manifest.summary)
                Its key is not in it. Where it is imported, that key is asked for: fieldseal key show --org \(name).
                """)
        }
    }

    struct Inspect: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say what an export holds and which key opens it, without a database.")
        @Argument(help: "A file that `org export` wrote.") var file: String
        @Flag(help: "Read a key from the terminal or standard input, and say whether it is the right one.") var key = false
        @Option(help: ArgumentHelp("Read the key from this file (mode 0400 or 0600).", valueName: "file"))
        var keyFile: String?
        @Flag(help: "Print JSON.") var json = false

        func run() async throws {
            let manifest = try ExportFile(file).manifest()
            try ExportFile(file).verify(manifest)
            var isRight: Bool?
            if key || keyFile != nil {
                isRight = try manifest.isOpened(by: OrganizationKeyText(try SecretInput.read(prompt: "Key", file: keyFile)))
            }
            if json {
                var value = manifest.json
                if let isRight, case .object(let members) = value {
                    value = .object(members + [.init("keyIsRight", .bool(isRight))])
                }
                print(String(decoding: value.utf8, as: UTF8.self))
            } else {
                print(manifest.summary)
                if let isRight { print(isRight ? "The key is the right one." : "The key is another one.") }
            }
            if isRight == false { throw ExitCode(1) }
        }
    }

    struct Import: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "import",
            abstract: "Make an organization of a file that `org export` wrote.",
            discussion: """
                It keeps its id, since its cells are bound to it, and ends in key required, unless its key is given. A clone \
                beside its original gets an id of its own with --as-new: every cell is sealed again, which needs the key.
                """)
        @Argument(help: "A file that `org export` wrote.") var file: String
        @Option(help: "Another name than the one it was exported under.") var name: String?
        @Flag(help: "Make a clone with an id of its own; needs the key.") var asNew = false
        @Flag(help: "Activate it with its key, from the terminal or standard input.") var key = false
        @Option(help: ArgumentHelp("Read the key from this file (mode 0400 or 0600).", valueName: "file"))
        var keyFile: String?
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let (deployment, settings) = try await options.deployment()
            let manifest = try ExportFile(file).manifest()
            try ExportFile(file).verify(manifest)
            let text =
                key || asNew || keyFile != nil
                ? try SecretInput.read(prompt: "Key of version \(manifest.keyVersion)", file: keyFile) : nil
            // Before anything is restored.
            if let text, try !manifest.isOpened(by: OrganizationKeyText(text)) { throw OrganizationRegistry.wrongKey(manifest) }
            let registry = OrganizationRegistry(
                conninfo: settings.migrationDatabase, kek: deployment.kek, policy: deployment.policy)
            let plan = try await registry.planImport(manifest, as: name ?? manifest.organization, isNew: asNew)
            try await PostgresTools().restore(
                schema: manifest.schema, from: file, before: plan.before, after: plan.after, conninfo: settings.migrationDatabase)
            do {
                if asNew, let text {
                    _ = try await registry.finishClone(plan, key: OrganizationKeyText(text), by: commandLineCaller)
                } else {
                    _ = try await registry.finishImport(plan, by: commandLineCaller)
                }
            } catch {
                try await registry.discard(schema: plan.schema)
                throw error
            }
            if !asNew, let text {
                try await Session.begin(deployment, organization: plan.name, caller: commandLineCaller)
                    .setDataEncryptionKey(text, change: false)
            }
            let session = try await Session.begin(deployment, organization: plan.name, caller: commandLineCaller)
            let status = try await session.encryptionStatus()
            options.report(
                .object(
                    [
                        .init("organization", .string(plan.name)), .init("id", .string(session.organization.id.text)),
                        .init("cells", .integer(Int64(manifest.cellCount))),
                    ] + status.members),
                """
                Imported \(plan.name) (\(session.organization.id.text)) with \(manifest.cellCount) cells. \(status.text)
                Every mailbox is disabled until it is tested and enabled again, and API clients are added anew.
                """)
        }
    }
}

extension ExportManifest {
    /// For people.
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
