// For `stat`. The compiler attributes it to the first module that imports it.
import CDispatch
import CoreFoundation
import Glibc

/// A file's status in the file system.
package struct FileStatus: Sendable, Equatable {
    package let isRegular: Bool
    /// The permission bits.
    package let mode: Int
    /// The id of the owner.
    package let owner: UInt32
    /// How many hard links it has.
    package let links: Int
    /// The size in bytes.
    package let length: Int
    /// The times of the last write and the last change. Each write updates them.
    let times: [Int]

    /// The status of an open file, even if its path names another file now; nil if it is unknown.
    package init?(descriptor: Int32) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        self.init(status)
    }

    /// The status of the file at a path; nil if there is none.
    package init?(path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        self.init(status)
    }

    private init(_ status: stat) {
        isRegular = status.st_mode & S_IFMT == S_IFREG
        mode = Int(status.st_mode & 0o7777)
        owner = status.st_uid
        links = Int(status.st_nlink)
        length = Int(status.st_size)
        times = [status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec]
    }
}
