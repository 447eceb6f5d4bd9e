import Foundation
import PostgresClient
import Subprocess
import SystemPackage

/// PostgreSQL's own programs, run on a database without a secret in an argument or in the environment.
struct PostgresTools: Sendable {
    private let folder: String

    /// - Throws: ``ToolError`` when there is no installation of PostgreSQL's client programs.
    init() throws {
        guard let folder = Self.folder(with: "pg_restore") else {
            throw ToolError("pg_dump, pg_restore and psql are missing: install postgresql-client")
        }
        self.folder = folder
    }

    /// The folder of the newest installation that has a program: Debian's, else the first on the path.
    static func folder(with program: String) -> String? {
        let debian = "/usr/lib/postgresql"
        let versions = ((try? FileManager.default.contentsOfDirectory(atPath: debian)) ?? []).compactMap(Int.init)
        let path = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
        let folders = versions.sorted(by: >).map { "\(debian)/\($0)/bin" } + path
        return folders.first { FileManager.default.isExecutableFile(atPath: "\($0)/\(program)") }
    }

    /// Dumps an organization's schema and `cell` into a file, as they are in a snapshot.
    func dump(schema: String, snapshot: String, to file: String, conninfo: String) async throws {
        try await run(
            #"exec "$0/pg_dump" --format=custom --compress=1 --role=fieldseal_owner --snapshot="$1" --schema="$2" --schema=cell "#
                + #"--exclude-table-data="$2.cell_change" --file="$3""#,
            [snapshot, schema, file], conninfo: conninfo)
    }

    /// Restores a schema of a dump between two scripts. What stands after it runs only when all of the dump was read.
    func restore(schema: String, from file: String, before: String, after: String, conninfo: String) async throws {
        try await run(
            #"{ printf %s "$1" && "$0/pg_restore" --no-owner --schema="$3" --file=- "$4" && printf %s "$2"; } "#
                + #"| "$0/psql" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --output=/dev/null --file=-"#,
            [before, after, schema, file], conninfo: conninfo)
    }

    /// Runs a line of shell with the folder of the programs as `$0`.
    private func run(_ line: String, _ arguments: [String], conninfo: String) async throws {
        let service = try ServiceFile(conninfo)
        defer { service.remove() }
        let result = try await Subprocess.run(
            .path("/bin/bash"), arguments: Arguments(["-c", "set -o pipefail; \(line)", folder] + arguments),
            environment: .inherit.updating([
                "PGSERVICEFILE": service.path, "PGSERVICE": ServiceFile.name, "PGAPPNAME": "fieldseal org",
            ]),
            input: .none, output: .discarded, error: .string(limit: 1 << 16))
        guard result.terminationStatus.isSuccess else {
            // psql and pg_dump name the statement and the object; data stands in lines that begin with CONTEXT or DETAIL.
            let lines = result.standardError.split(separator: "\n").filter { line in
                !["CONTEXT:", "DETAIL:"].contains { line.contains($0) }
            }
            throw ToolError(lines.prefix(5).joined(separator: "\n"))
        }
    }
}

/// A connection string as a libpq service file, which nobody else may read.
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

/// One of PostgreSQL's programs failed; in its own words.
struct ToolError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
