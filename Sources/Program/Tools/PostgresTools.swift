import Foundation
import Glibc
import Organizations
import PostgresClient
import Subprocess
import SystemPackage

/// Runs PostgreSQL's own programs, without a shell, and without a secret in an argument or in the environment.
struct PostgresTools: Sendable {
    private let folder: String

    /// - Parameter version: The server's major version. Client programs of the same version are preferred, because a server of
    ///   that version can read their output. Nil for the newest programs, which read the output of every version.
    /// - Throws: ``ToolError`` when PostgreSQL's client programs are not installed.
    init(version: Int? = nil) throws {
        guard let folder = Self.folders(with: "pg_restore", version: version).first else {
            throw ToolError("pg_dump and pg_restore are missing: install postgresql-client")
        }
        self.folder = folder
    }

    /// The folder of the newest installation of a program: Debian's, or else the first on the path.
    static func folder(with program: String) -> String? { folders(with: program, version: nil).first }

    private static func folders(with program: String, version: Int?) -> [String] {
        let debian = "/usr/lib/postgresql"
        let versions = ((try? FileManager.default.contentsOfDirectory(atPath: debian)) ?? []).compactMap(Int.init).sorted(by: >)
        let preferred = versions.filter { $0 == version } + versions.filter { $0 != version }
        let path = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
        let folders = preferred.map { "\(debian)/\($0)/bin" } + path
        return folders.filter { FileManager.default.isExecutableFile(atPath: "\($0)/\(program)") }
    }

    /// Dumps an organization's schema and `cell` from a snapshot to a file.
    func dump(schema: String, snapshot: String, to file: ExportFile, conninfo: String) async throws {
        let service = try ServiceFile(conninfo)
        defer { service.remove() }
        let passwords = DatabasePasswords.input()
        var variables: [Environment.Key: String?] = [
            "PGSERVICEFILE": service.path, "PGSERVICE": ServiceFile.name, "PGAPPNAME": "fieldseal org",
        ]
        if let file = passwords.file { variables["PGPASSFILE"] = file }
        let result = try await Subprocess.run(
            .path(FilePath("\(folder)/pg_dump")),
            arguments: [
                "--format=custom", "--compress=1", "--role=fieldseal_owner", "--snapshot=\(snapshot)", "--schema=\(schema)",
                "--schema=cell", "--exclude-table-data=\(schema).cell_change",
            ],
            environment: .inherit.updating(variables), workingDirectory: Self.workingFolder,
            input: .fileDescriptor(FileDescriptor(rawValue: passwords.descriptor), closeAfterSpawningProcess: true),
            output: .fileDescriptor(FileDescriptor(rawValue: file.descriptor), closeAfterSpawningProcess: false),
            error: .string(limit: 1 << 16))
        try Self.check(result.terminationStatus.isSuccess, result.standardError)
    }

    /// Prints the rows of a schema in a dump. `pg_restore` reads no settings, connects to no server and executes nothing.
    func printRows(schema: String, of file: ExportFile, to output: FileDescriptor) async throws {
        let result = try await Subprocess.run(
            .path(FilePath("\(folder)/pg_restore")), arguments: ["--data-only", "--no-owner", "--schema=\(schema)", "--file=-"],
            environment: .custom(["PATH": folder, "LC_ALL": "C"]), workingDirectory: Self.workingFolder,
            input: .fileDescriptor(FileDescriptor(rawValue: file.descriptor), closeAfterSpawningProcess: false),
            output: .fileDescriptor(output, closeAfterSpawningProcess: true), error: .string(limit: 1 << 16))
        try Self.check(result.terminationStatus.isSuccess, result.standardError)
    }

    // MARK: Dumps of a whole database

    /// The table of contents of a dump.
    func catalog(ofDump path: String) async throws -> DumpCatalog {
        DumpCatalog(list: try await restored(["--list", path], limit: Self.listLimit))
    }

    /// The rows of some tables, as printed by `pg_restore`.
    func rows(of tables: [String], in schema: String, ofDump path: String) async throws -> String {
        try await restored(
            ["--data-only", "--no-owner", "--schema=\(schema)"] + tables.map { "--table=\($0)" } + ["--file=-", path],
            limit: Self.listLimit)
    }

    /// Reads a dump to its end, so that a truncated or damaged one is detected.
    ///
    /// - Throws: ``ToolError`` with pg_restore's message.
    func readAll(ofDump path: String) async throws {
        _ = try await restored(["--file=/dev/null", path], limit: 1 << 16)
    }

    /// The longest table of contents of a dump, and the longest output of small tables' rows, in bytes.
    private static let listLimit = 1 << 28

    private func restored(_ arguments: [String], limit: Int) async throws -> String {
        let result = try await Subprocess.run(
            .path(FilePath("\(folder)/pg_restore")), arguments: Arguments(arguments),
            environment: .custom(["PATH": folder, "LC_ALL": "C"]), workingDirectory: Self.workingFolder, input: .none,
            output: .string(limit: limit),
            error: .string(limit: 1 << 16))
        try Self.check(result.terminationStatus.isSuccess, result.standardError)
        return result.standardOutput
    }

    /// The working folder of the programs. The folder is `/` if this user may not enter the present working folder, because the
    /// programs would report a folder that they can't enter.
    private static var workingFolder: FilePath? { access(".", X_OK) == 0 ? nil : "/" }

    private static func check(_ isSuccess: Bool, _ errors: String?) throws {
        guard !isSuccess else { return }
        // Errors of pg_dump and pg_restore name the object. Lines with CONTEXT or DETAIL contain data, and are left out.
        let lines = (errors ?? "").split(separator: "\n").filter { line in !["CONTEXT:", "DETAIL:"].contains { line.contains($0) } }
        throw ToolError(lines.prefix(5).joined(separator: "\n"))
    }
}

/// A connection string as a libpq service file, readable only by its owner.
private struct ServiceFile {
    static let name = "fieldseal"
    let path: String

    init(_ conninfo: String) throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("fieldseal-\(UUID().uuidString)").path
        let lines = try ConnectionParameters.parse(conninfo).map { "\($0.keyword)=\($0.value)\n" }.joined()
        let file = try FileDescriptor.open(
            FilePath(path), .writeOnly, options: [.create, .exclusiveCreate], permissions: .ownerReadWrite)
        try file.closeAfter { _ = try file.writeAll("[\(Self.name)]\n\(lines)".utf8) }
    }

    func remove() { try? FileManager.default.removeItem(atPath: path) }
}
