import NIOCore
import Tenancy

/// A header of the PROXY protocol.
enum ProxyHeader: Equatable {
    case incomplete
    case malformed
    /// The client's address, nil for a connection of the proxy itself; and the header's length in bytes.
    case complete(IPAddress?, length: Int)

    private static let signature: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]
    /// The longest header of version 1 in bytes, including its line end.
    private static let textLimit = 107
    /// The longest header of version 2 that is accepted, in bytes: addresses and some extensions.
    private static let binaryLimit = 2_048

    static func parse(_ bytes: some RandomAccessCollection<UInt8>) -> ProxyHeader {
        let head = Array(bytes.prefix(signature.count))
        if head.elementsEqual(signature) { return parseBinary(bytes) }
        if signature.starts(with: head) { return .incomplete }
        let name = Array("PROXY ".utf8)
        guard name.starts(with: head.prefix(name.count)) else { return .malformed }
        return parseText(Array(bytes.prefix(textLimit)), isWhole: bytes.count < textLimit)
    }

    private static func parseText(_ bytes: [UInt8], isWhole: Bool) -> ProxyHeader {
        guard let end = bytes.firstIndex(of: 0x0A) else { return isWhole ? .incomplete : .malformed }
        guard end > 0, bytes[end - 1] == 0x0D, bytes[..<end].allSatisfy({ $0 < 0x80 }) else { return .malformed }
        let words = String(decoding: bytes[..<(end - 1)], as: UTF8.self).split(separator: " ", omittingEmptySubsequences: false)
        guard words.count >= 2, words[0] == "PROXY" else { return .malformed }
        if words[1] == "UNKNOWN" { return .complete(nil, length: end + 1) }
        guard words.count == 6, words[1] == "TCP4" || words[1] == "TCP6", !words[2].contains("\r"),
            words[2].contains(":") == (words[1] == "TCP6"), words[3].contains(":") == (words[1] == "TCP6"),
            let source = IPAddress(String(words[2])), IPAddress(String(words[3])) != nil, isPort(words[4]), isPort(words[5])
        else { return .malformed }
        return .complete(source, length: end + 1)
    }

    private static func isPort(_ text: Substring) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { (0x30...0x39).contains($0) } && UInt16(text) != nil
    }

    private static func parseBinary(_ bytes: some RandomAccessCollection<UInt8>) -> ProxyHeader {
        let head = Array(bytes.prefix(16))
        guard head.count == 16 else { return .incomplete }
        let length = Int(head[14]) << 8 | Int(head[15])
        guard head[12] >> 4 == 2, length + 16 <= binaryLimit else { return .malformed }
        guard bytes.count >= 16 + length else { return .incomplete }
        let body = Array(bytes.dropFirst(16).prefix(length))
        switch (head[12] & 0xF, head[13]) {
        // The command LOCAL: the proxy itself opened the connection, so the addresses are ignored.
        case (0, _): return .complete(nil, length: 16 + length)
        // The command PROXY for TCP: the body has two addresses and two ports.
        case (1, 0x11) where length >= 12: return .complete(IPAddress(bytes: Array(body.prefix(4))), length: 16 + length)
        case (1, 0x21) where length >= 36: return .complete(IPAddress(bytes: Array(body.prefix(16))), length: 16 + length)
        case (1, 0x00): return .complete(nil, length: 16 + length)
        default: return .malformed
        }
    }
}
