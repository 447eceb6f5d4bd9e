import Foundation
import Glibc

/// Sockets that systemd opened for the service (sd_listen_fds(3)), by their names in the unit.
struct ActivatedSockets {
    private(set) var https: CInt?
    private(set) var http: CInt?
    /// The unix socket.
    private(set) var unix: CInt?

    private static let first: CInt = 3

    /// Takes the sockets over. Child processes do not inherit the sockets.
    ///
    /// - Throws: ``StartError`` for a socket with another name or of another kind.
    static func take() throws -> ActivatedSockets {
        var sockets = ActivatedSockets()
        let environment = ProcessInfo.processInfo.environment
        for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { unsetenv(name) }
        guard let pid = environment["LISTEN_PID"].flatMap({ Int32($0) }), pid == getpid(),
            let count = environment["LISTEN_FDS"].flatMap({ CInt($0) }), count > 0
        else { return sockets }
        let names = (environment["LISTEN_FDNAMES"] ?? "").split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        for index in 0..<count {
            let descriptor = first + index
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            let name = Int(index) < names.count ? names[Int(index)] : ""
            guard let kind = family(of: descriptor), sockets.place(descriptor, of: kind, named: name) else {
                throw StartError.unusableSocket(name)
            }
        }
        return sockets
    }

    /// - Returns: False for a socket that no listener uses, or a second one for the same listener.
    private mutating func place(_ descriptor: CInt, of family: CInt, named name: String) -> Bool {
        if family == AF_UNIX {
            guard unix == nil else { return false }
            unix = descriptor
        } else if name == "http" {
            guard http == nil else { return false }
            http = descriptor
        } else {
            guard https == nil, Self.namesOfHTTPS.contains(name) else { return false }
            https = descriptor
        }
        return true
    }

    /// The names that the HTTPS socket may have. If the unit names no socket, systemd uses the unit's name.
    private static let namesOfHTTPS: Set = ["https", "fieldseal.socket", "unknown", ""]

    /// The family of a listening stream socket; nil for anything else.
    private static func family(of descriptor: CInt) -> CInt? {
        func option(_ name: CInt) -> CInt? {
            var value: CInt = 0
            var length = socklen_t(MemoryLayout<CInt>.size)
            return getsockopt(descriptor, SOL_SOCKET, name, &value, &length) == 0 ? value : nil
        }
        guard option(SO_TYPE) == CInt(SOCK_STREAM.rawValue), option(SO_ACCEPTCONN) == 1 else { return nil }
        return option(SO_DOMAIN)
    }
}
