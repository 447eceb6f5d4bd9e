import JSON

extension StringProtocol {
    /// The text with its percent-encoded bytes decoded (RFC 3986 section 2.1).
    ///
    /// - Parameter isForm: Whether `+` is a space, as in forms.
    /// - Returns: Nil for a malformed encoding, and for bytes that are not UTF-8.
    func percentDecoded(isForm: Bool = false) -> String? {
        let special = utf8.contains { $0 == UInt8(ascii: "%") || isForm && $0 == UInt8(ascii: "+") }
        guard special else { return String(self) }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(utf8.count)
        var rest = utf8.makeIterator()
        while let byte = rest.next() {
            switch byte {
            case UInt8(ascii: "%"):
                guard let high = rest.next()?.hexDigitValue, let low = rest.next()?.hexDigitValue else { return nil }
                bytes.append(high << 4 | low)
            case UInt8(ascii: "+") where isForm: bytes.append(UInt8(ascii: " "))
            default: bytes.append(byte)
            }
        }
        return String(validating: bytes, as: UTF8.self)
    }

    /// Whether this text contains an ASCII text. Foundation's search compares characters, which takes much longer.
    ///
    /// - Parameter ignoringCase: Whether case is ignored. Then `text` must be in lower case.
    func contains(ascii text: StaticString, ignoringCase: Bool = false) -> Bool {
        let wanted = UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
        func isSame(_ byte: UInt8, _ other: UInt8) -> Bool {
            byte == other || ignoringCase && (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) && byte | 0x20 == other
        }
        var copy = String(self)
        return copy.withUTF8 { bytes in
            guard bytes.count >= wanted.count else { return false }
            return (0...bytes.count - wanted.count).contains { start in
                wanted.indices.allSatisfy { isSame(bytes[start + $0], wanted[$0]) }
            }
        }
    }

    /// The text without leading and trailing spaces and tabs.
    var trimmed: Substring {
        var text = Substring(self)
        while let first = text.utf8.first, first == 32 || first == 9 { text.removeFirst() }
        while let last = text.utf8.last, last == 32 || last == 9 { text.removeLast() }
        return text
    }
}
