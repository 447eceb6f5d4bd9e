import Glibc

/// A range of addresses, such as `10.0.0.0/8`, or one address.
package struct IPNetwork: Hashable, Sendable, CustomStringConvertible {
    private let base: [UInt8]
    /// How many leading bits an address in the network has in common with `base`.
    private let length: Int

    /// Parses a network; nil for anything else. Bits after the prefix are ignored.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPAddress(String(first)) else { return nil }
        base = address.bytes
        guard parts.count == 2 else {
            length = base.count * 8
            return
        }
        guard parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), parts[1].utf8.count <= 3, var bits = Int(parts[1]) else {
            return nil
        }
        // An IPv4-mapped address is stored without its first 96 bits, so the prefix is 96 bits shorter too.
        if base.count == 4, first.contains(":") { bits -= 96 }
        guard (0...base.count * 8).contains(bits) else { return nil }
        length = bits
    }

    /// Whether the network contains the address.
    package func contains(_ address: IPAddress) -> Bool {
        guard address.bytes.count == base.count else { return false }
        let whole = length / 8
        guard base[..<whole] == address.bytes[..<whole] else { return false }
        let rest = length % 8
        return rest == 0 || (base[whole] ^ address.bytes[whole]) >> (8 - rest) == 0
    }

    /// Whether the network contains every address of its family.
    package var isEverything: Bool { length == 0 }

    package var description: String { "\(IPAddress(bytes: base)?.description ?? "")/\(length)" }
}
