import Foundation
import Glibc

/// Makes sure that the entry of a new file in its folder is on the disk.
package enum FolderSync {
    /// Waits until the entry of a file in its folder is on the disk. Returns false, with the reason in `errno`, if that failed.
    ///
    /// `fsync` of a new file alone does not do this, so a power failure can then remove the whole file. Some file systems don't
    /// synchronize folders (EINVAL), and write entries in order by themselves.
    package static func waitForEntry(of path: String) -> Bool {
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return fsync(descriptor) == 0 || errno == EINVAL
    }
}
