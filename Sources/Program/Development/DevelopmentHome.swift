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
        path = Self.followed(URL(filePath: absolute).standardizedFileURL.path)
        try FileManager.default.createDirectory(
            atPath: URL(filePath: path).deletingLastPathComponent().path, withIntermediateDirectories: true)
        // PostgreSQL's user may enter the folder. No other user may list its files.
        try OwnFolder.prepare(path, mode: 0o711)
        guard getuid() == 0 else {
            databaseUser = nil
            return
        }
        guard let entry = getpwnam("postgres") else { throw DevelopmentError.noDatabaseUser }
        databaseUser = DatabaseUser(name: "postgres", uid: entry.pointee.pw_uid, gid: entry.pointee.pw_gid)
        try requireEntry()
    }

    /// The target of a link that this user or root made. For a link of another user, returns the link's own path, which is refused
    /// later.
    private static func followed(_ path: String) -> String {
        guard let link = try? FileManager.default.attributesOfItem(atPath: path),
            link[.type] as? FileAttributeType == .typeSymbolicLink,
            let owner = (link[.ownerAccountID] as? NSNumber)?.uint32Value, owner == geteuid() || owner == 0
        else { return path }
        return URL(filePath: path).resolvingSymlinksInPath().path
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

    /// Makes the folder of PostgreSQL's socket. A socket's path has at most 107 bytes, so for a deep folder the socket is in
    /// `/tmp`.
    ///
    /// Other users may write in `/tmp`, so the folder's name there is random. A file in the development folder keeps the random
    /// name for the next start.
    func makeSocketFolder() throws -> String {
        if "\(nearSocketFolder)/.s.PGSQL.5432".utf8.count <= UnixSocket.longestPath {
            try makeDatabaseFolder(nearSocketFolder, mode: 0o755)
            return nearSocketFolder
        }
        let record = "socket-folder"
        if let former = try? String(contentsOfFile: file(record), encoding: .utf8),
            (try? makeDatabaseFolder(former, mode: 0o755)) != nil
        {
            return former
        }
        var name = Array("/tmp/fieldseal-XXXXXX".utf8CString)
        guard mkdtemp(&name) != nil else { throw DevelopmentError.cannotWrite("/tmp") }
        let folder = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        try write(folder, to: record)
        try makeDatabaseFolder(folder, mode: 0o755)
        return folder
    }

    /// Removes the folder of the socket if it is in `/tmp`, and empty.
    func removeSocketFolder(_ folder: String) {
        if folder != nearSocketFolder { rmdir(folder) }
    }

    private var nearSocketFolder: String { file("run") }

    /// Creates a folder that belongs to the database's user.
    func makeDatabaseFolder(_ path: String, mode: mode_t) throws {
        try OwnFolder.prepare(path, mode: mode, owner: databaseUser)
    }

    /// Writes a file that only its owner may read. If writing fails, a former file of this name stays as it was.
    func write(_ text: String, to name: String, owner: DatabaseUser? = nil) throws {
        let temporary = file("\(name).new")
        unlink(temporary)
        do {
            let descriptor = try FileDescriptor.open(
                FilePath(temporary), .writeOnly, options: [.create, .exclusiveCreate, .noFollow, .closeOnExec],
                permissions: .ownerReadWrite)
            try descriptor.closeAfter {
                if let owner, fchown(descriptor.rawValue, owner.uid, owner.gid) != 0 { throw Errno(rawValue: errno) }
                _ = try descriptor.writeAll(text.utf8)
            }
        } catch is Errno {
            throw DevelopmentError.cannotWrite(file(name))
        }
        guard rename(temporary, file(name)) == 0 else { throw DevelopmentError.cannotWrite(file(name)) }
    }

    /// A command that runs as the database's user. The program runs in this session and process group, and has the process id of
    /// the child.
    ///
    /// The child changes its user after exec. Between fork and exec, glibc's setuid would wait for threads that the child does not
    /// have.
    func databaseCommand(_ path: String, _ arguments: [String]) -> (executable: Executable, arguments: Arguments) {
        guard let user = databaseUser else { return (.path(FilePath(path)), Arguments(arguments)) }
        let identity = ["--reuid=\(user.uid)", "--regid=\(user.gid)", "--init-groups"]
        return (.name("setpriv"), Arguments(identity + [path] + arguments))
    }
}
