import CellCrypto
import Crypto
import Foundation
import Glibc
import Subprocess
import SystemPackage

/// The folder of `fieldseal dev`, and the operating system's user that runs PostgreSQL.
struct DevelopmentHome: Sendable {
    let path: String
    /// The user that runs PostgreSQL if this process is root. PostgreSQL refuses to run as root.
    let databaseUser: DatabaseUser?

    struct DatabaseUser: Sendable {
        let name: String
        let uid: uid_t
        let gid: gid_t
    }

    /// Creates the folder, and checks that the database's user can enter it.
    ///
    /// - Throws: ``DevelopmentError``.
    init() throws {
        let given = ProcessInfo.processInfo.environment["FIELDSEAL_HOME"] ?? ".fieldseal"
        let absolute = given.hasPrefix("/") ? given : "\(FileManager.default.currentDirectoryPath)/\(given)"
        path = URL(filePath: absolute).standardizedFileURL.path
        // PostgreSQL's user may enter it. No other user may read it.
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o711])
        guard getuid() == 0 else {
            databaseUser = nil
            return
        }
        guard let entry = getpwnam("postgres") else { throw DevelopmentError.noDatabaseUser }
        databaseUser = DatabaseUser(name: "postgres", uid: entry.pointee.pw_uid, gid: entry.pointee.pw_gid)
        try requireEntry()
    }

    private func requireEntry() throws {
        var folder = ""
        for component in path.split(separator: "/") {
            folder += "/\(component)"
            let attributes = try FileManager.default.attributesOfItem(atPath: folder)
            let mode = attributes[.posixPermissions] as? Int ?? 0
            let isOwn = (attributes[.ownerAccountID] as? NSNumber)?.uint32Value == databaseUser?.uid
            guard mode & 0o001 != 0 || isOwn else { throw DevelopmentError.cannotEnter(folder: folder, user: "postgres") }
        }
    }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    /// The folder of PostgreSQL's socket. A socket's path has at most 107 bytes, so a deep folder gets a short one elsewhere.
    var socketFolder: String {
        let near = file("run")
        if "\(near)/.s.PGSQL.5432".utf8.count <= 107 { return near }
        let digest = hexadecimal(SHA256.hash(data: Data(path.utf8)).prefix(6))
        return "/tmp/fieldseal-\(digest)"
    }

    /// Creates a folder that belongs to the database's user.
    func makeDatabaseFolder(_ path: String, mode: Int) throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        var attributes: [FileAttributeKey: Any] = [.posixPermissions: mode]
        if let user = databaseUser {
            attributes[.ownerAccountID] = NSNumber(value: user.uid)
            attributes[.groupOwnerAccountID] = NSNumber(value: user.gid)
        }
        try FileManager.default.setAttributes(attributes, ofItemAtPath: path)
    }

    /// Writes a complete file that only its owner may read, or none.
    func write(_ text: String, to name: String) throws {
        let temporary = file("\(name).new")
        unlink(temporary)
        guard FileManager.default.createFile(atPath: temporary, contents: Data(text.utf8), attributes: [.posixPermissions: 0o600]),
            rename(temporary, file(name)) == 0
        else { throw DevelopmentError.cannotWrite(file(name)) }
    }

    /// A command that runs as the database's user, in this session and process group, with the child's process id.
    ///
    /// The child changes its user after exec. Between fork and exec, glibc's setuid would wait for threads that the child does not
    /// have.
    func databaseCommand(_ path: String, _ arguments: [String]) -> (executable: Executable, arguments: Arguments) {
        guard let user = databaseUser else { return (.path(FilePath(path)), Arguments(arguments)) }
        let identity = ["--reuid=\(user.uid)", "--regid=\(user.gid)", "--init-groups"]
        return (.name("setpriv"), Arguments(identity + [path] + arguments))
    }
}
