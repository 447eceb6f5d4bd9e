// This import is for `stat`, which the compiler attributes to the first module that imports it.
import CDispatch
import CoreFoundation
import Glibc

/// A file's status in the file system.
package struct FileStatus: Sendable, Equatable {
    package let isRegular: Bool
    private let isFolder: Bool
    /// The permission bits.
    package let mode: Int
    /// The id of the owner.
    package let owner: UInt32
    /// How many hard links the file has.
    package let links: Int
    /// The size in bytes.
    package let length: Int
    /// The id of the file system's device.
    package let device: UInt64
    /// The file's inode number in the file system.
    let inode: UInt64
    /// The times of the last write (mtime) and the last change (ctime). A write updates both. A new owner or mode updates only
    /// ctime.
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

    /// Why a file can't be opened for reading, in the system's words, such as `Permission denied`; nil if it can.
    package static func obstacle(toReading path: String) -> String? {
        // With O_NONBLOCK, opening a pipe without a writer does not block.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return String(cString: strerror(errno)) }
        defer { close(descriptor) }
        let status = FileStatus(descriptor: descriptor)
        return status?.isFolder == true ? String(cString: strerror(EISDIR)) : nil
    }

    private init(_ status: stat) {
        isRegular = status.st_mode & S_IFMT == S_IFREG
        isFolder = status.st_mode & S_IFMT == S_IFDIR
        mode = Int(status.st_mode & 0o7777)
        owner = status.st_uid
        links = Int(status.st_nlink)
        length = Int(status.st_size)
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        times = [status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec]
    }
}
