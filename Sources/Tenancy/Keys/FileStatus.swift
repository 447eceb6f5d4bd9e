// For `stat`: the compiler sees it as a declaration of the first module that brought it in.
import CDispatch
import CoreFoundation
import Glibc

/// What the file system says of a file.
public struct FileStatus: Sendable, Equatable {
    public let isRegular: Bool
    /// The permission bits.
    public let mode: Int
    /// The id of the user that it belongs to.
    public let owner: UInt32
    /// How many names it has.
    public let links: Int
    /// Bytes.
    public let length: Int
    /// When it was last written and changed, which each write moves on.
    let times: [Int]

    /// The status of an open file, even if its path names another file by now; nil when it can't be told.
    public init?(descriptor: Int32) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        self.init(status)
    }

    /// The status of the file that a path names; nil when there is none.
    public init?(path: String) {
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
