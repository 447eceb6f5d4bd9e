import ArgumentParser
import CellCrypto
import Foundation
import Glibc
import JSON
import Migrations
import PostgresClient
import Tenancy

/// Creates the roles of a deployment in PostgreSQL, as a superuser, for `setup`.
struct SetupRoles {
    let superuser: String
    let settings: Settings

    /// The length of a generated password in bytes.
    private static let passwordLength = 24

    /// A role in the settings.
    private struct Login: Sendable {
        let setting: String
        let role: String
        let passfile: String?
        /// The prefix of the password's line in the password file: host, port, database and role.
        let prefix: String
    }

    /// - Throws: `ValidationError` for a connection string with a password, since other users of the machine can see arguments.
    static func refusePassword(in superuser: String?) throws {
        guard superuser?.contains(#/password\s*=|://[^:/@]*:[^@]*@/#) != true else {
            throw ValidationError("--superuser has a password in it, which other users of this machine can see. Use passfile=FILE.")
        }
    }

    /// - Returns: The steps that were done, one a line.
    func run() async throws -> [String] {
        let runner = MigrationRunner(conninfo: superuser)
        try await runner.bootstrap()
        var lines = ["fieldseal_owner, fieldseal_service and fieldseal_inspector are there"]
        let service = try login("database", settings.database)
        guard service.role == "fieldseal_service" else {
            throw CommandFailure("The setting database names the role \(service.role). The service connects as fieldseal_service.")
        }
        lines += try await prepare(service, isOwner: false)
        let migrator = try login("migrationDatabase", settings.migrationDatabase)
        if migrator.role == service.role {
            lines.append(
                "migrationDatabase is not set: set it to a role of its own, such as fieldseal_migrator, and run this again")
        } else {
            lines += try await prepare(migrator, isOwner: true)
        }
        return lines
    }

    private func login(_ setting: String, _ conninfo: String) throws -> Login {
        let values = try Dictionary(ConnectionParameters.parse(conninfo).map { ($0.keyword, $0.value) }, uniquingKeysWith: { $1 })
        guard let role = values["user"] else { throw CommandFailure("The setting \(setting) names no user.") }
        let environment = ProcessInfo.processInfo.environment
        let host = (values["host"] ?? environment["PGHOST"]).flatMap { $0.hasPrefix("/") || $0.isEmpty ? nil : $0 } ?? "localhost"
        let port = values["port"] ?? environment["PGPORT"] ?? "5432"
        let fields = [host.contains(",") ? "*" : host, port.contains(",") ? "*" : port, values["dbname"] ?? "*", role]
        return Login(
            setting: setting, role: role, passfile: values["passfile"],
            prefix: fields.map(Self.escaped).joined(separator: ":") + ":")
    }

    /// Colons and backslashes are escaped in a password file.
    private static func escaped(_ field: String) -> String {
        field.replacing("\\", with: "\\\\").replacing(":", with: "\\:")
    }

    /// Creates the role. Gives the role a password if it has none and the settings name a password file.
    private func prepare(_ login: Login, isOwner: Bool) async throws -> [String] {
        let connection = try await PostgresConnection.connect(superuser, applicationName: "fieldseal setup")
        let lines = try await connection.run { connection in
            var lines: [String] = []
            let role = quoteIdentifier(login.role)
            let rows = try connection.query(
                "SELECT rolpassword IS NOT NULL FROM pg_authid WHERE rolname = $1", [.text(login.role)])
            if rows.isEmpty {
                try connection.execute("CREATE ROLE \(role) LOGIN")
                lines.append("made the role \(login.role)")
            }
            if isOwner { try connection.execute("GRANT fieldseal_owner TO \(role)") }
            let hasPassword = try rows.first?.decode(0, as: Bool.self) ?? false
            guard !hasPassword else { return lines + ["\(login.role) has a password already; it stays"] }
            guard let passfile = login.passfile else {
                return lines + [
                    "\(login.role) has no password: \(login.setting) names no passfile. Leave it so for peer or certificates"
                ]
            }
            let password = Data(try randomBytes(count: Self.passwordLength)).base64URL
            // The password is written to the file first, because a password that is in no file would be useless.
            try PasswordFile(passfile).set(login.prefix, password)
            let verifier = try connection.verifier(ofPassword: password, forRole: login.role)
            try connection.execute("ALTER ROLE \(role) PASSWORD '\(verifier.replacing("'", with: "''"))'")
            return lines + ["gave \(login.role) a password, which is in \(passfile)"]
        }
        await connection.close()
        return lines
    }
}

/// libpq's password file, with the mode 0600.
private struct PasswordFile {
    let path: String

    init(_ path: String) { self.path = path }

    /// Replaces the line that begins with `prefix`, or adds one.
    func set(_ prefix: String, _ password: String) throws {
        let former = FileManager.default.fileExists(atPath: path) ? try String(contentsOfFile: path, encoding: .utf8) : ""
        let kept = former.split(separator: "\n").filter { !$0.hasPrefix(prefix) }
        // libpq uses the first line that matches. The new line comes first, because an operator's own line may match every
        // host.
        let text = (["\(prefix)\(password)"] + kept).joined(separator: "\n") + "\n"
        let partial = "\(path).new"
        unlink(partial)
        let descriptor = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw failed() }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        guard write(descriptor, bytes, bytes.count) == bytes.count, fsync(descriptor) == 0, rename(partial, path) == 0,
            FolderSync.waitForEntry(of: path)
        else {
            throw failed()
        }
    }

    private func failed() -> CommandFailure {
        CommandFailure("The password file \(path) can't be written: \(String(cString: strerror(errno))). No password was changed.")
    }
}
