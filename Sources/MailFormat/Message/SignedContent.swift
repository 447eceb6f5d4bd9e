/// Extracts the content that a signature encloses: the content of CMS `SignedData` (RFC 5652 section 5), in DER or BER.
enum SignedContent {
    /// An element of ASN.1 (X.690).
    private struct Element {
        let tag: UInt8
        let content: ArraySlice<UInt8>
        /// The index after the element.
        let end: Int
    }

    /// How deeply elements of indefinite length are nested at most.
    private static let depthLimit = 20

    private static let sequence: UInt8 = 0x30
    private static let identifier: UInt8 = 0x06
    private static let octets: UInt8 = 0x04
    private static let octetsInPieces: UInt8 = 0x24
    private static let context: UInt8 = 0xA0
    /// The object identifiers of signed data and of data: 1.2.840.113549.1.7.2 and 1.2.840.113549.1.7.1.
    private static let signedData: [UInt8] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x07, 0x02]
    private static let data: [UInt8] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x07, 0x01]

    /// The enclosed message; nil if the content is encrypted, or is not signed data.
    static func content(of bytes: ArraySlice<UInt8>) -> [UInt8]? {
        guard let outer = element(bytes), outer.tag == sequence, let type = element(outer.content), type.tag == identifier,
            type.content.elementsEqual(signedData), let wrapped = element(outer.content[type.end...]), wrapped.tag == context,
            let signed = element(wrapped.content), signed.tag == sequence, let version = element(signed.content),
            let digests = element(signed.content[version.end...]), let enclosed = element(signed.content[digests.end...]),
            enclosed.tag == sequence, let kind = element(enclosed.content), kind.tag == identifier,
            kind.content.elementsEqual(data), let holder = element(enclosed.content[kind.end...]), holder.tag == context,
            let content = element(holder.content)
        else { return nil }
        return text(content, depth: 0)
    }

    /// The bytes of an octet string, which may be in pieces.
    private static func text(_ element: Element, depth: Int) -> [UInt8]? {
        if element.tag == octets { return Array(element.content) }
        guard element.tag == octetsInPieces, depth < depthLimit else { return nil }
        var result: [UInt8] = []
        var rest = element.content
        while !rest.isEmpty {
            guard let piece = Self.element(rest), let bytes = text(piece, depth: depth + 1) else { return nil }
            result += bytes
            rest = rest[piece.end...]
        }
        return result
    }

    /// The first element of some bytes; nil if the element is incomplete.
    private static func element(_ bytes: ArraySlice<UInt8>, depth: Int = 0) -> Element? {
        guard depth < depthLimit, bytes.count >= 2 else { return nil }
        let tag = bytes[bytes.startIndex]
        let first = bytes[bytes.startIndex + 1]
        var start = bytes.startIndex + 2
        if first == 0x80 { return endless(tag, bytes[start...], depth) }
        var length = Int(first)
        if first > 0x80 {
            let count = Int(first & 0x7F)
            guard count <= 4, start + count <= bytes.endIndex else { return nil }
            length = bytes[start..<start + count].reduce(0) { $0 << 8 | Int($1) }
            start += count
        }
        guard length <= bytes.endIndex - start else { return nil }
        return Element(tag: tag, content: bytes[start..<start + length], end: start + length)
    }

    /// Reads an element of indefinite length, which ends with two zero bytes.
    private static func endless(_ tag: UInt8, _ bytes: ArraySlice<UInt8>, _ depth: Int) -> Element? {
        var rest = bytes
        while !rest.starts(with: [0, 0]) {
            guard let inner = element(rest, depth: depth + 1) else { return nil }
            rest = rest[inner.end...]
        }
        return Element(tag: tag, content: bytes[..<rest.startIndex], end: rest.startIndex + 2)
    }
}
