import Foundation
import Glibc
import Tenancy

/// Makes folders for `fieldseal dev`. Uses an existing folder only if no other user could have put it there.
enum OwnFolder {
    /// Makes a folder, unless it exists, and gives it to a user. Checks and changes the folder through its open descriptor, because
    /// the path may name another folder meanwhile. Follows no link.
    ///
    /// - Throws: ``DevelopmentError``.
    static func prepare(_ path: String, mode: mode_t, owner: DevelopmentHome.DatabaseUser? = nil) throws(DevelopmentError) {
        let isNew = mkdir(path, 0o700) == 0
        guard isNew || errno == EEXIST else { throw .cannotWrite(path) }
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0, let status = FileStatus(descriptor: descriptor) else {
            throw .notOwn(folder: path, reason: "it is a link or no folder, or can't be opened")
        }
        defer { close(descriptor) }
        guard status.owner == geteuid() || status.owner == owner?.uid else {
            throw .notOwn(folder: path, reason: "it belongs to the user with the id \(status.owner)")
        }
        guard status.mode & 0o022 == 0 else {
            throw .notOwn(folder: path, reason: "others may write to it (mode \(String(status.mode, radix: 8)))")
        }
        guard isNew || owner != nil else { return }
        if let owner, fchown(descriptor, owner.uid, owner.gid) != 0 { throw .cannotWrite(path) }
        guard fchmod(descriptor, mode) == 0 else { throw .cannotWrite(path) }
    }
}
