import Foundation
import Glibc
import Synchronization

/// Finds out whether a server sends a greeting before TLS, as servers with STARTTLS do.
enum STARTTLSProbe {
    /// Milliseconds to wait for a greeting.
    private static let patience: Int32 = 1_500

    /// Recent results by host and port.
    private static let seen = Mutex<[String: (isGiven: Bool, on: Date)]>([:])
    /// Seconds for which a result is kept.
    private static let memory = 600.0

    static func isGiven(by host: String, _ port: Int) -> Bool {
        let name = "\(host):\(port)"
        if let known = seen.withLock({ $0[name] }), Date().timeIntervalSince(known.on) < memory { return known.isGiven }
        guard let isGiven = look(host, port) else { return false }
        seen.withLock { $0[name] = (isGiven, Date()) }
        return isGiven
    }

    /// Corrects a result after a connection failed. If the server responded to a TLS handshake with something else, it counts as a
    /// server that sends a greeting before TLS, but late. If the server responded with TLS, the result is deleted.
    static func correct(_ host: String, _ port: Int, answersTLS: Bool) {
        seen.withLock { $0["\(host):\(port)"] = answersTLS ? nil : (true, Date()) }
    }

    /// - Returns: Nil when no server responds, or when it disconnects before a greeting.
    private static func look(_ host: String, _ port: Int) -> Bool? {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, "\(port)", &hints, &found) == 0 else { return nil }
        defer { freeaddrinfo(found) }
        var next = found
        while let address = next?.pointee {
            next = address.ai_next
            let descriptor = socket(address.ai_family, address.ai_socktype | Int32(SOCK_CLOEXEC.rawValue), address.ai_protocol)
            guard descriptor >= 0 else { continue }
            defer { close(descriptor) }
            var limit = timeval(tv_sec: 5, tv_usec: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
            guard connect(descriptor, address.ai_addr, address.ai_addrlen) == 0 else { continue }
            var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&ready, 1, patience) > 0 else { return false }
            var byte: UInt8 = 0
            return recv(descriptor, &byte, 1, Int32(MSG_DONTWAIT)) == 1 ? true : nil
        }
        return nil
    }
}
