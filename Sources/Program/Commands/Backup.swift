import ArgumentParser
import CellCrypto
import Foundation
import JSON
import Organizations
import Tenancy

/// The command `backup`, which checks backups of the whole deployment.
struct Backup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check backups of the deployment's database.", subcommands: [Check.self])

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Read a dump from its beginning to its end, and say which keys can open it.",
            discussion: """
                The dump is one of the whole database in pg_dump's custom, directory or tar format. No database is needed. With \
                the key-encryption key of the backup's time, the command also says whether it opens each organization's key.
                """,
            example: "backup check /mnt/safe/fieldseal.dump --kek-file /mnt/safe/kek")
        @Argument(help: "The dump: a file, or a folder of pg_dump's directory format.") var file: String
        @Option(help: ArgumentHelp("The key-encryption key that belongs to the backup.", valueName: "file")) var kekFile: String?
        @Option(
            help: ArgumentHelp(
                "Settings that name the key-encryption key of the backup, for example a key that a PKCS#11 token seals.",
                valueName: "file"))
        var settings: String?
        @Option(
            help: ArgumentHelp(
                "With --settings: the database of the backup. Not needed if there is only one.", valueName: "name"))
        var database: String?
        @Flag(help: "Print JSON.") var json = false

        func validate() throws {
            guard database == nil || settings != nil else { throw ValidationError("--database needs --settings.") }
            guard kekFile == nil || settings == nil else { throw ValidationError("Give one of --kek-file and --settings.") }
        }

        func run() async throws {
            guard access(file, R_OK) == 0 else {
                throw CommandFailure(
                    "\(file) can't be read: \(String(cString: strerror(errno))). Name a dump that pg_dump wrote.")
            }
            var kek = try kekFile.map { try KeyEncryptionKeyFile.read($0) }
            if let settings {
                let read = try await Settings.read(settings)
                // If all databases have the same key-encryption key, the command needs no `--database`.
                let isShared = database == nil && read.databaseKeks.isEmpty
                kek = try (isShared ? read : read.selecting(database)).startingKeyEncryptionKey()
            }
            let tools = try PostgresTools()
            let catalog: DumpCatalog
            do {
                catalog = try await tools.catalog(ofDump: file)
                try await tools.readAll(ofDump: file)
            } catch let error as ToolError {
                throw CommandFailure(
                    "\(file) can't be read to its end as a dump: \(error). Name a dump that pg_dump wrote in its custom, directory "
                        + "or tar format. If this is one, it is damaged: take another backup.")
            }
            var rows: [String: String] = [:]
            for schema in catalog.schemas.filter({ $0.hasPrefix("org_") }) {
                rows[schema] = try await tools.rows(of: BackupContents.organizationTables, in: schema, ofDump: file)
            }
            let config =
                catalog.schemas.contains("config")
                ? try await tools.rows(of: BackupContents.configTables, in: "config", ofDump: file) : nil
            let contents = try BackupContents(catalog, config: config, schemas: rows, kek: kek)
            var problems = contents.problems
            if contents.entries.isEmpty { problems.append("the dump holds no organization") }
            report(contents, problems)
            if !problems.isEmpty { throw ExitCode.failure }
        }

        private func report(_ contents: BackupContents, _ problems: [String]) {
            if json {
                let value: JSONValue = [
                    "organizations": .array(contents.entries.map(Self.json)), "problems": .array(problems.map { .string($0) }),
                ]
                CommandOutput.line(String(decoding: value.utf8, as: UTF8.self))
                return
            }
            for entry in contents.entries {
                let key = entry.keyVersion.map { "key version \($0), fingerprint \(entry.fingerprint ?? "")" } ?? "no cells"
                let kek = entry.kekID.map { ", under the key-encryption key \($0)" } ?? ""
                CommandOutput.line("\(entry.name ?? entry.schema): \(key)\(kek)\(entry.isOpened == true ? ", which opens it" : "")")
            }
            for problem in problems { CommandOutput.line("problem: \(problem)") }
            if problems.isEmpty {
                CommandOutput.line("The dump was read to its end. It contains everything that a restore needs, except the keys.")
            }
        }

        private static func json(_ entry: BackupContents.Entry) -> JSONValue {
            [
                "organization": .text(entry.name), "schema": .string(entry.schema),
                "keyVersion": entry.keyVersion.map { .integer(Int64($0)) } ?? .null, "fingerprint": .text(entry.fingerprint),
                "kekId": .text(entry.kekID), "opened": entry.isOpened.map { .bool($0) } ?? .null,
            ]
        }
    }
}
