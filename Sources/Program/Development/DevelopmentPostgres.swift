import CellCrypto
import Foundation
import Glibc
import JSON
import PostgresClient
import Subprocess
import SystemPackage

/// A private PostgreSQL in the development folder, with its own socket.
struct DevelopmentPostgres: Sendable {
    let home: DevelopmentHome
    private let binaries: String
    private let password: String
    private let socketFolder: String

    private var data: String { home.file("pg") }
    var isInitialized: Bool { FileManager.default.fileExists(atPath: data) }

    /// A connection string, by default for the cluster's superuser. Any user of this machine who has the password can connect with
    /// this string.
    func conninfo(database: String, user: String = "postgres", password: String? = nil) -> String {
        "host=\(socketFolder) port=5432 dbname=\(database) user=\(user) password=\(password ?? self.password)"
    }

    init(_ home: DevelopmentHome) throws {
        self.home = home
        guard let folder = PostgresTools.folder(with: "initdb") else { throw DevelopmentError.noPostgreSQL }
        binaries = folder
        let file = home.file("postgres-password")
        if !FileManager.default.fileExists(atPath: file) {
            try home.write(Data(try randomBytes(count: 24)).base64URL, to: "postgres-password")
        }
        password = try String(contentsOfFile: file, encoding: .utf8)
        socketFolder = try home.makeSocketFolder()
    }

    /// Runs PostgreSQL while `body` runs, then stops it.
    func run<Result: Sendable>(_ body: @Sendable @escaping () async throws -> Result) async throws -> Result {
        defer { home.removeSocketFolder(socketFolder) }
        try await stopLeftOver()
        try await initialize()
        let log = try FileDescriptor.open(
            FilePath(home.file("postgres.log")), .writeOnly, options: [.create, .append], permissions: [.ownerReadWrite])
        var options = PlatformOptions()
        // A smart shutdown would wait for every client. A fast shutdown rolls the clients' transactions back.
        options.teardownSequence = [.send(signal: .interrupt, allowedDurationToNextStep: .seconds(60))]
        let command = home.databaseCommand(
            "\(binaries)/postgres",
            [
                "-D", data, "-c", "unix_socket_directories=\(socketFolder)", "-c", "listen_addresses=", "-c", "port=5432",
                "-c", "cluster_name=fieldseal",
            ])
        let outcome = try await Subprocess.run(
            command.executable,
            arguments: command.arguments,
            workingDirectory: "/",
            platformOptions: options,
            input: .none,
            output: .fileDescriptor(log, closeAfterSpawningProcess: false),
            error: .fileDescriptor(log, closeAfterSpawningProcess: true)
        ) { execution in
            do {
                try await waitUntilReady(execution.processIdentifier)
                let result = try await body()
                try? execution.send(signal: .interrupt)
                return Swift.Result<Result, any Error>.success(result)
            } catch {
                try? execution.send(signal: .interrupt)
                return .failure(error)
            }
        }
        return try outcome.closureResult.get()
    }

    /// Creates the cluster, with a temporary name until it is complete.
    private func initialize() async throws {
        guard !isInitialized else { return }
        let temporary = home.file("pg.new")
        try? FileManager.default.removeItem(atPath: temporary)
        try home.makeDatabaseFolder(temporary, mode: 0o700)
        let passwordFile = home.file("initdb-password")
        try home.write(password, to: "initdb-password", owner: home.databaseUser)
        defer { try? FileManager.default.removeItem(atPath: passwordFile) }
        let command = home.databaseCommand(
            "\(binaries)/initdb",
            [
                "-D", temporary, "-U", "postgres", "--auth=scram-sha-256", "--pwfile=\(passwordFile)", "-E", "UTF8",
                "--locale=C.UTF-8", "--data-checksums",
            ])
        let result = try await Subprocess.run(
            command.executable,
            arguments: command.arguments,
            workingDirectory: "/",
            output: .discarded,
            error: .string(limit: 8_192)
        )
        guard case .exited(0) = result.terminationStatus else {
            throw DevelopmentError.initializationFailed(result.standardError)
        }
        guard rename(temporary, data) == 0 else { throw DevelopmentError.cannotWrite(data) }
    }

    /// Stops a server that outlived its parent process. Removes lock files whose process id belongs to another process now, or
    /// to a zombie, because PostgreSQL would take that process for a running server.
    private func stopLeftOver() async throws {
        for lock in ["\(data)/postmaster.pid", "\(socketFolder)/.s.PGSQL.5432.lock"] {
            guard let text = try? String(contentsOfFile: lock, encoding: .utf8),
                let first = text.split(separator: "\n").first, let pid = pid_t(first), pid > 0
            else { continue }
            let command = (try? String(contentsOfFile: "/proc/\(pid)/cmdline", encoding: .utf8)) ?? ""
            guard command.contains("postgres"), command.contains(data) else {
                try? FileManager.default.removeItem(atPath: lock)
                continue
            }
            kill(pid, SIGINT)
            for _ in 0..<600 where FileManager.default.fileExists(atPath: lock) { try await Task.sleep(for: .milliseconds(100)) }
        }
    }

    private func waitUntilReady(_ process: ProcessIdentifier) async throws {
        for _ in 0..<600 {
            do {
                let connection = try await PostgresConnection.connect(conninfo(database: "postgres"))
                await connection.close()
                return
            } catch let error as PostgresError where error.isConnectionLoss || error.kind == .usage {
                let state = try? String(contentsOfFile: "/proc/\(process.value)/stat", encoding: .utf8)
                guard let state, !state.contains(") Z ") else { break }
                try await Task.sleep(for: .milliseconds(100))
            }
        }
        throw DevelopmentError.doesNotStart(log: home.file("postgres.log"))
    }

    /// Creates the database and the roles that are missing.
    ///
    /// - Returns: The service's connection string.
    func prepareDatabase(servicePassword: String) async throws -> String {
        let admin = try await PostgresConnection.connect(conninfo(database: "postgres"))
        try await admin.run { connection in
            let there = try connection.query("SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'fieldseal')")
            if try !there[0].decode(0, as: Bool.self) { try connection.execute("CREATE DATABASE fieldseal") }
        }
        await admin.close()
        let database = try await PostgresConnection.connect(conninfo(database: "fieldseal"))
        try await database.run { connection in
            try connection.execute("SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS pgcrypto SCHEMA public")
        }
        await database.close()
        return conninfo(database: "fieldseal", user: "fieldseal_service", password: servicePassword)
    }

    /// Sets the password of the service's role. The statement contains only a verifier of the password.
    func setServicePassword(_ password: String) async throws {
        let database = try await PostgresConnection.connect(conninfo(database: "fieldseal"))
        try await database.run { connection in
            let verifier = try connection.verifier(ofPassword: password, forRole: "fieldseal_service")
            try connection.execute("ALTER ROLE fieldseal_service PASSWORD '\(verifier.replacing("'", with: "''"))'")
        }
        await database.close()
    }
}
