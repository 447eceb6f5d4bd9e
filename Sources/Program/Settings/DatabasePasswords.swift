import CellCrypto
import Foundation
import Glibc
import PostgresClient
import Synchronization
import Tenancy

/// The passwords of the database as a systemd credential: a libpq password file that only this program reads.
///
/// libpq ignores a password file that its group may read, and a credential of systemd is such a file. So the credential is copied
/// to a file without a name in memory, which libpq and PostgreSQL's own programs read. No password is in an argument, a connection
/// string or an environment variable.
enum DatabasePasswords {
    /// Where libpq looks for a password file if the connection string names none.
    private static let variable = "PGPASSFILE"
    private static let lengthLimit = 1 << 16
    /// The file in memory; nil if the settings name no credential. A process has at most one password file in memory.
    private static let opened = Mutex<Opened?>(nil)

    private struct Opened {
        let credential: String
        let passwords: Int32
    }

    /// Makes every later connection use the credential of the settings, if they name one.
    ///
    /// - Throws: ``SettingsError`` when the credential is missing or malformed, other users may read it, or it has no password for
    ///   a role of the settings.
    static func use(_ settings: Settings) throws(SettingsError) {
        guard let name = settings.databasePasswordsCredential else { return }
        try opened.withLock { opened throws(SettingsError) in
            guard opened?.credential != name else { return }
            let file = try read(name)
            var text = file.text
            defer { text.withUnsafeMutableBytes { secureWipe($0) } }
            try check(users(in: text, file.path), settings, file.path)
            let descriptor = try keep(text, file.path)
            setenv(variable, "/proc/self/fd/\(descriptor)", 1)
            opened = Opened(credential: name, passwords: descriptor)
        }
    }

    /// The standard input for a program of PostgreSQL, and the path at which the program finds the password file there; nil if
    /// there is none.
    static func input() -> (descriptor: Int32, file: String?) {
        guard let passwords = opened.withLock({ $0?.passwords }) else { return (open("/dev/null", O_RDONLY | O_CLOEXEC), nil) }
        return (fcntl(passwords, F_DUPFD_CLOEXEC, 3), "/proc/self/fd/0")
    }

    // MARK: The credential

    private static func problem(_ text: String) -> SettingsError { .malformed("databasePasswords.credential: \(text)") }

    private static func read(_ name: String) throws(SettingsError) -> (text: [UInt8], path: String) {
        guard !name.isEmpty, !name.contains("/"), !name.hasPrefix(".") else {
            throw problem("\(name) is not a credential's name: such a name has no slash, and does not begin with a dot")
        }
        guard let folder = ProcessInfo.processInfo.environment["CREDENTIALS_DIRECTORY"] else {
            throw problem(
                "systemd passed no credentials to this program, so \(name) can't be read. In a unit, set LoadCredential= or "
                    + "LoadCredentialEncrypted=; for a command on the command line, use systemd-run with the same")
        }
        let path = "\(folder)/\(name)"
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw problem("\(path) can't be read: \(String(cString: strerror(errno))). Name the credential in the unit too")
        }
        defer { close(descriptor) }
        guard let status = FileStatus(descriptor: descriptor), status.isRegular else {
            throw problem("\(path) is not a regular file")
        }
        guard status.owner == geteuid() || status.owner == 0 else {
            throw problem("\(path) belongs to the user with the id \(status.owner), who could replace it")
        }
        // The group's read bit is allowed: if systemd grants access by an access control list, this bit is the list's mask, and the
        // group itself has no access.
        guard status.mode & 0o037 == 0 else {
            throw problem("others may read \(path), or its group may write it (mode \(String(status.mode, radix: 8)))")
        }
        guard status.length <= lengthLimit else { throw problem("\(path) is too long for a password file") }
        var text = [UInt8](repeating: 0, count: status.length)
        let length = text.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
        guard length == text.count else { throw problem("\(path) can't be read: \(String(cString: strerror(errno)))") }
        return (text, path)
    }

    /// The roles that the lines of a password file are for. A line is `host:port:database:user:password`.
    private static func users(in text: [UInt8], _ path: String) throws(SettingsError) -> Set<String> {
        var users: Set<String> = []
        for (number, line) in text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            guard let first = line.first, first != UInt8(ascii: "#") else { continue }
            var (fields, isEscaped) = ([[UInt8]()], false)
            for byte in line where fields.count < 5 {
                if !isEscaped, byte == UInt8(ascii: "\\") {
                    isEscaped = true
                } else if !isEscaped, byte == UInt8(ascii: ":") {
                    fields.append([])
                } else {
                    fields[fields.count - 1].append(byte)
                    isEscaped = false
                }
            }
            guard fields.count == 5 else {
                throw problem(
                    "line \(number + 1) of \(path) is not a line of a password file: write host:port:database:user:password")
            }
            users.insert(String(decoding: fields[3], as: UTF8.self))
        }
        return users
    }

    /// Checks that each role of the settings has a password, and that the connection string of the service has no other password.
    ///
    /// The connection for migrations may have its own password file, such as a superuser's for `migrate bootstrap`.
    private static func check(_ users: Set<String>, _ settings: Settings, _ path: String) throws(SettingsError) {
        for database in settings.allDatabases {
            for conninfo in [database.conninfo, database.standbyConninfo, database.migrationConninfo] {
                guard let parameters = try? ConnectionParameters.parse(conninfo) else { continue }
                if let other = parameters.first(where: { ["password", "passfile"].contains($0.keyword) }) {
                    guard conninfo != database.migrationConninfo || conninfo == database.conninfo else { continue }
                    throw problem("the connection string of the service has \(other.keyword) too: keep one of them")
                }
                guard let user = parameters.last(where: { $0.keyword == "user" })?.value, users.isDisjoint(with: [user, "*"]) else {
                    continue
                }
                throw problem("\(path) has no password for \(user). Add a line for that role: host:port:database:\(user):password")
            }
        }
    }

    // MARK: The file in memory

    /// Writes a text to a new file in memory. Only this program, and the programs to which it passes the file's descriptor, can
    /// open the file.
    private static func keep(_ text: [UInt8], _ path: String) throws(SettingsError) -> Int32 {
        // The file is unlinked before the passwords are written to it, so no other process can open it by name.
        let name = "/fieldseal-\(UUID().uuidString)"
        let descriptor = shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0, shm_unlink(name) == 0, fchmod(descriptor, 0o600) == 0,
            write(descriptor, text, text.count) == text.count
        else { throw problem("\(path) can't be kept in memory: \(String(cString: strerror(errno)))") }
        return descriptor
    }
}
