import Glibc

/// An IPv4 or IPv6 address. An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) counts as the IPv4 address.
package struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    /// Four or sixteen bytes.
    let bytes: [UInt8]

    /// Parses an address without a port; nil for anything else.
    package init?(_ text: String) {
        // inet_pton stops at a zero byte, and would accept text after it.
        guard text.utf8.count <= 45, !text.utf8.contains(0) else { return nil }
        var four = in_addr()
        var sixteen = in6_addr()
        if inet_pton(AF_INET, text, &four) == 1 {
            self.init(four: withUnsafeBytes(of: &four) { Array($0) })
        } else if inet_pton(AF_INET6, text, &sixteen) == 1 {
            self.init(sixteen: withUnsafeBytes(of: &sixteen) { Array($0) })
        } else {
            return nil
        }
    }

    /// The address of four or sixteen bytes; nil for another number of bytes.
    package init?(bytes: [UInt8]) {
        switch bytes.count {
        case 4: self.init(four: bytes)
        case 16: self.init(sixteen: bytes)
        default: return nil
        }
    }

    private init(four bytes: [UInt8]) {
        self.bytes = bytes
    }

    private init(sixteen bytes: [UInt8]) {
        self.bytes = bytes.starts(with: Self.mappedPrefix) ? Array(bytes.dropFirst(12)) : bytes
    }

    static let mappedPrefix = [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF]

    package var description: String {
        guard bytes.count == 16 else { return bytes.map(String.init).joined(separator: ".") }
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        guard inet_ntop(AF_INET6, bytes, &text, socklen_t(text.count)) != nil else { return "" }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The unit for limits: an IPv4 address, or the /64 network of an IPv6 address, because one host may have a whole /64.
    package var network: String {
        guard bytes.count == 16 else { return description }
        let prefix = IPAddress(bytes: Array(bytes.prefix(8)) + [UInt8](repeating: 0, count: 8))
        return "\(prefix?.description ?? description)/64"
    }

    /// The network of an address in text; the text itself if it is not an address.
    package static func network(of text: String) -> String { IPAddress(text)?.network ?? text }

    /// The text of an address. An IPv4 address is never shown as IPv6.
    package static func shown(_ text: String) -> String {
        text.utf8.starts(with: "::ffff:".utf8) ? IPAddress(text)?.description ?? text : text
    }
}
