public import Foundation

extension UUID {
    /// A new random id (RFC 9562 section 5.4). Unlike `UUID()`, it does not open the system's source of randomness each time.
    package static func random() -> UUID {
        var generator = SystemRandomNumberGenerator()
        var (high, low) = (generator.next(), generator.next())
        high = high & ~0xF000 | 0x4000
        low = low & ~(0xC << 60) | 0x8 << 60
        return withUnsafeBytes(of: (high.bigEndian, low.bigEndian)) { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
    }

    /// A new id whose first 48 bits are the time in milliseconds (RFC 9562 section 5.7), so that new records are close together in
    /// an index.
    package static func timeOrdered(now: Date = Date()) -> UUID { timeOrdered(UInt64(now.timeIntervalSince1970 * 1_000)) }

    /// New ids in ascending order. A counter follows the time (RFC 9562 section 6.2, method 1).
    package static func timeOrdered(count: Int, now: Date = Date()) -> [UUID] {
        let first = UInt64(now.timeIntervalSince1970 * 1_000)
        return (0..<UInt64(count)).map { number in
            var id = timeOrdered(first + number >> 12).uuid
            id.6 = UInt8(number >> 8 & 0x0F) | 0x70
            id.7 = UInt8(number & 0xFF)
            return UUID(uuid: id)
        }
    }

    private static func timeOrdered(_ milliseconds: UInt64) -> UUID {
        var id = random().uuid
        withUnsafeBytes(of: milliseconds.bigEndian) { time in
            (id.0, id.1, id.2, id.3, id.4, id.5) = (time[2], time[3], time[4], time[5], time[6], time[7])
        }
        id.6 = id.6 & 0x0F | 0x70
        return UUID(uuid: id)
    }

    /// Parses 32 hexadecimal digits with hyphens, in either case, and nothing else.
    ///
    /// Foundation's initializer accepts a sign or a space as a digit, and then returns a different id.
    @inlinable
    package init?(text: some StringProtocol) {
        var id: (UInt64, UInt64) = (0, 0)
        var position = 0
        for byte in text.utf8 {
            defer { position += 1 }
            if position == 8 || position == 13 || position == 18 || position == 23 {
                guard byte == UInt8(ascii: "-") else { return nil }
                continue
            }
            guard let digit = byte.hexDigitValue else { return nil }
            id = (id.0 << 4 | id.1 >> 60, id.1 << 4 | UInt64(digit))
        }
        guard position == 36 else { return nil }
        self = withUnsafeBytes(of: (id.0.bigEndian, id.1.bigEndian)) { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
    }

    /// The 16 bytes in network order.
    package var bytes: [UInt8] { withUnsafeBytes(of: uuid) { Array($0) } }

    /// The form for clients: lower case, with hyphens.
    package var text: String {
        var bytes: [UInt8] = []
        bytes.append(self)
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension UInt8 {
    /// The value of a hexadecimal digit in ASCII, in either case; nil for any other character.
    @inlinable
    package var hexDigitValue: UInt8? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): self - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): self - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): self - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

extension Data {
    /// Base64 with the alphabet for URLs and without padding (RFC 4648 section 5).
    package var base64URL: String {
        String(base64EncodedString().compactMap { $0 == "+" ? "-" : $0 == "/" ? "_" : $0 == "=" ? nil : $0 })
    }

    /// Reads what ``base64URL`` wrote.
    package init?(base64URL text: some StringProtocol) {
        let padded = String(text.map { $0 == "-" ? "+" : $0 == "_" ? "/" : $0 })
        self.init(base64Encoded: padded + String(repeating: "=", count: (4 - padded.utf8.count % 4) % 4))
    }
}
