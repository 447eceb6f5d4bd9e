import Foundation
import Glibc

/// The file of a unix socket on which the service listens.
struct UnixSocket {
    let path: String
    /// Who may connect, as the mode of a file.
    let mode: mode_t

    /// The longest path that a socket's address holds.
    static let longestPath = 107

    /// Refuses a path at which another server listens, or where there is another file. What a server left behind is replaced.
    ///
    /// - Throws: ``StartError``.
    func check() throws {
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

    /// Gives the file its mode. Until then only the program's user may connect.
    func open() { chmod(path, mode) }

    func remove() { unlink(path) }
}
