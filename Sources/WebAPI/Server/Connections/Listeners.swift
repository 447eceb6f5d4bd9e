import HTTPTypes
import Hummingbird
import NIOCore
import Synchronization
import Tenancy

/// The connections of all listeners: the number for each network, and the client addresses that proxies reported.
final class Listeners: Sendable {
    private let proxies: [IPNetwork]
    /// How many connections one network may have at a time.
    private let share: Int
    private let counts = Mutex<[String: Int]>([:])
    /// Addresses from the PROXY protocol, by connection.
    private let told = Mutex<[ObjectIdentifier: IPAddress]>([:])

    init(_ limits: APILimits) {
        proxies = limits.trustedProxies
        share = limits.addressShare
    }

    /// Whether a peer may report its clients' addresses.
    func isTrusted(_ address: IPAddress?) -> Bool {
        guard let address else { return false }
        return proxies.contains { $0.contains(address) }
    }

    /// Counts a connection until it is closed.
    ///
    /// - Returns: False when its network has reached the limit. Then the caller has to close the connection. Trusted proxies have
    ///   no limit.
    func admit(_ channel: any Channel, from address: IPAddress?) -> Bool {
        guard let address, !isTrusted(address) else { return true }
        let network = address.network
        let isAdmitted = counts.withLock { counts in
            guard counts[network, default: 0] < share else { return false }
            counts[network, default: 0] += 1
            return true
        }
        guard isAdmitted else { return false }
        channel.closeFuture.whenComplete { [self] _ in
            counts.withLock { counts in
                let left = counts[network, default: 1] - 1
                counts[network] = left > 0 ? left : nil
            }
        }
        return true
    }

    /// How many connections are open, without connections of trusted proxies.
    var connections: Int { counts.withLock { $0.values.reduce(0, +) } }

    /// Stores the address that a proxy reported for a connection.
    func tell(_ address: IPAddress, for channel: any Channel) {
        let id = ObjectIdentifier(channel)
        told.withLock { $0[id] = address }
        channel.closeFuture.whenComplete { [self] _ in told.withLock { $0[id] = nil } }
    }

    /// The client's address of a connection: the address in the PROXY protocol, or else the peer's address.
    ///
    /// - Parameter channel: The connection, or a stream of it.
    func peer(of channel: any Channel) -> IPAddress? {
        let address = told.withLock { told -> IPAddress? in
            guard !told.isEmpty else { return nil }
            return told[ObjectIdentifier(channel)] ?? channel.parent.flatMap { told[ObjectIdentifier($0)] }
        }
        return address ?? channel.remoteAddress?.ipAddress.flatMap(IPAddress.init)
    }

    /// Whether a connection came through the unix socket. Programs that the socket's file mode admits are trusted like proxies.
    static func isLocal(_ channel: any Channel) -> Bool {
        if case .unixDomainSocket? = channel.localAddress { return true }
        return false
    }

    /// The client's address in events and in the log.
    func clientAddress(of request: Request, on channel: any Channel) -> String? {
        let isLocal = Self.isLocal(channel)
        guard !proxies.isEmpty || isLocal else { return channel.remoteAddress?.ipAddress.map(IPAddress.shown) }
        return client(behind: peer(of: channel), isLocal: isLocal, request.headers[values: .xForwardedFor])?.description
    }

    /// The address of the client behind trusted proxies: in `X-Forwarded-For`, counted from the right, the first address that is
    /// not a trusted proxy. Addresses to the left of this address are ignored, because the client may have written them.
    ///
    /// - Parameters:
    ///   - peer: The sender of the request. If it is not trusted, it is the client.
    ///   - isLocal: Whether the request came through the unix socket, whose peer has no address.
    ///   - fields: The values of all `X-Forwarded-For` fields in order.
    func client(behind peer: IPAddress?, isLocal: Bool = false, _ fields: [String]) -> IPAddress? {
        guard !fields.isEmpty, isLocal || isTrusted(peer) else { return peer }
        var client = peer
        var hops = 0
        for field in fields.reversed() {
            for entry in field.split(separator: ",", omittingEmptySubsequences: false).reversed() {
                // An invalid address ends the search. The result is the last known proxy.
                guard hops < Self.hopLimit, let address = Self.address(entry) else { return client }
                client = address
                guard isTrusted(address) else { return client }
                hops += 1
            }
        }
        return client
    }

    private static let hopLimit = 32

    /// An address with or without a port, as proxies write them.
    private static func address(_ entry: Substring) -> IPAddress? {
        let text = entry.drop { $0 == " " || $0 == "\t" }
        let trimmed = text.prefix(text.count - text.reversed().prefix { $0 == " " || $0 == "\t" }.count)
        if let address = IPAddress(String(trimmed)) { return address }
        if trimmed.hasPrefix("["), let end = trimmed.firstIndex(of: "]") {
            let port = trimmed[trimmed.index(after: end)...]
            guard port.isEmpty || port.hasPrefix(":") && isPort(port.dropFirst()) else { return nil }
            return IPAddress(String(trimmed.dropFirst().prefix { $0 != "]" }))
        }
        let parts = trimmed.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, isPort(parts[1]) else { return nil }
        return IPAddress(String(parts[0]))
    }

    private static func isPort(_ text: Substring) -> Bool {
        text.utf8.allSatisfy { (0x30...0x39).contains($0) } && UInt16(text) != nil
    }
}
