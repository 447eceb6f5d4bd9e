import Foundation
import Glibc

/// The file of the service's unix socket.
struct UnixSocket {
    let path: String
    /// The file's mode, which decides who may connect.
    let mode: mode_t

    /// The longest path in a socket's address.
    static let longestPath = 107

    /// Refuses a path that has another server's socket or another file, or is in a folder in which no socket can be made. A
    /// socket that an ended server left is replaced.
    ///
    /// - Throws: ``StartError``.
    func check() throws {
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
        guard access(folder.isEmpty ? "/" : folder, W_OK | X_OK) == 0 else {
            throw StartError.noSocketFolder(path, reason: String(cString: strerror(errno)))
        }
        guard let type = try? FileManager.default.attributesOfItem(atPath: path)[.type] as? FileAttributeType else { return }
        guard type == .typeSocket else { throw StartError.noSocket(path) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(Self.longestPath)) }
        let isTaken = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
        if isTaken { throw StartError.socketTaken(path) }
    }

    /// Sets the file's mode. Before the mode is set, only the program's user may connect.
    func open() { chmod(path, mode) }

    func remove() { unlink(path) }
}
