import Foundation
import Glibc

/// Chooses the port of a listener.
enum Port {
    /// Returns the port in an environment variable; 0 there means any free port. Without the variable, returns the usual port, or a
    /// free one if the usual port is in use.
    ///
    /// - Throws: ``DevelopmentError`` when the port in the variable is in use.
    static func choose(_ variable: String, usual: Int) throws -> Int {
        let text = ProcessInfo.processInfo.environment[variable] ?? ""
        guard let named = Int(text) else { return free(usual) ?? free(0) ?? usual }
        guard let port = free(named) else { throw DevelopmentError.portTaken(variable, named) }
        return port
    }

    /// Returns `port` if it can be bound on every address, otherwise nil. For 0 returns a free port.
    private static func free(_ port: Int) -> Int? {
        let descriptor = socket(AF_INET6, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var yes: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        address.sin6_port = in_port_t(port).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(descriptor, pointer, length) == 0 && listen(descriptor, 1) == 0
                    && getsockname(descriptor, pointer, &length) == 0
            }
        }
        return bound ? Int(UInt16(bigEndian: address.sin6_port)) : nil
    }

    /// The reason for which the service can't listen at an address; nil if it can. Port 0 means any free port.
    static func obstacle(_ port: Int, on host: String) -> Obstacle? {
        var hints = addrinfo()
        hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, "\(port)", &hints, &list)
        guard code == 0, let address = list?.pointee else {
            return Obstacle(isTaken: false, reason: "the host is not found: \(String(cString: gai_strerror(code)))")
        }
        defer { freeaddrinfo(list) }
        let descriptor = socket(address.ai_family, address.ai_socktype | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return Obstacle(errno) }
        defer { close(descriptor) }
        var yes: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        let isBound = bind(descriptor, address.ai_addr, address.ai_addrlen) == 0 && listen(descriptor, 1) == 0
        return isBound ? nil : Obstacle(errno)
    }

    /// The reason for which the service can't listen at an address.
    struct Obstacle {
        /// Whether a program listens at the address already.
        let isTaken: Bool
        let reason: String
    }
}

extension Port.Obstacle {
    fileprivate init(_ error: Int32) {
        self.init(isTaken: error == EADDRINUSE, reason: String(cString: strerror(error)))
    }
}
