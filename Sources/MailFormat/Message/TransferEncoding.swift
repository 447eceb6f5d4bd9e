/// Content-Transfer-Encoding (RFC 2045 section 6), with common misspellings.
enum TransferEncoding {
    case identity
    case base64
    case quotedPrintable
    case uuencode

    init(_ field: ArraySlice<UInt8>?) {
        // Quotes, comments, parameters and punctuation are ignored.
        let word = String(decoding: Self.withoutComments(field?.prefix(Self.fieldLimit) ?? []), as: UTF8.self).lowercased()
            .prefix { $0 != ";" }
        switch String(word.unicodeScalars.filter { ("a"..."z").contains($0) || ("0"..."9").contains($0) }) {
        case "base64", "b64", "b", "xbase64", "mimebase64": self = .base64
        case "quotedprintable", "qp", "q", "quoteprintable", "quotedprintible", "xquotedprintable": self = .quotedPrintable
        case "xuuencode", "uuencode", "xuue", "uue": self = .uuencode
        default: self = .identity
        }
    }

    /// How many bytes of the field are read.
    private static let fieldLimit = 200

    /// A value without its comments, which may be nested (RFC 822 section 3.4.3). A comment without an end reaches to the end
    /// of the value.
    private static func withoutComments(_ field: ArraySlice<UInt8>) -> [UInt8] {
        var depth = 0
        var isEscaped = false
        var result: [UInt8] = []
        for byte in field {
            if depth > 0, isEscaped {
                isEscaped = false
                continue
            }
            switch byte {
            case UInt8(ascii: "\\") where depth > 0: isEscaped = true
            case UInt8(ascii: "("): depth += 1
            case UInt8(ascii: ")") where depth > 0: depth -= 1
            case _ where depth == 0: result.append(byte)
            default: break
            }
        }
        return result
    }

    /// - Parameter isText: Whether to keep text after the end of Base64, such as a mailing list's footer.
    func decode(_ bytes: ArraySlice<UInt8>, isText: Bool) -> ArraySlice<UInt8> {
        switch self {
        case .identity: bytes
        case .base64: Self.base64(bytes, keepsRest: isText)[...]
        case .quotedPrintable: Self.quotedPrintable(bytes)[...]
        case .uuencode: (Self.uuencoded(bytes) ?? Array(bytes))[...]
        }
    }

    // MARK: Base64

    private static let base64Values: [UInt8] = {
        var values = [UInt8](repeating: 0xFF, count: 256)
        for (value, letter) in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8.enumerated() {
            values[Int(letter)] = UInt8(value)
        }
        return values
    }()

    /// The values of the alphabet with `-` and `_` as the last two letters (RFC 4648 section 5), which some programs use.
    private static let urlValues: [UInt8] = {
        var values = base64Values
        values[Int(UInt8(ascii: "-"))] = 62
        values[Int(UInt8(ascii: "_"))] = 63
        return values
    }()

    /// Whether the bytes have any letter of Base64.
    static func hasLetters(_ bytes: ArraySlice<UInt8>) -> Bool { bytes.contains { urlValues[Int($0)] != 0xFF } }

    /// The alphabet of a line: `-` and `_` are letters if the line has only letters. A row of dashes and a delimiter are not such
    /// lines.
    private static func alphabet(of line: ArraySlice<UInt8>) -> [UInt8] {
        guard line.contains(where: { $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") }) else { return base64Values }
        let letters = line.trimmed
        let isURL =
            letters.allSatisfy { urlValues[Int($0)] != 0xFF || $0 == UInt8(ascii: "=") }
            && letters.contains { base64Values[Int($0)] != 0xFF } && (!letters.starts(with: "--".utf8) || letters.count >= longLine)
        return isURL ? urlValues : base64Values
    }

    /// Decodes Base64 with both alphabets. Characters that are in neither alphabet are skipped, and decoding continues after
    /// padding.
    static func base64(_ bytes: ArraySlice<UInt8>, keepsRest: Bool) -> [UInt8] {
        var decoder = Base64Decoder(capacity: bytes.count / 4 * 3 + 3)
        var start = bytes.startIndex
        while start < bytes.endIndex {
            let end = bytes.lineEnd(from: start)
            let line = bytes[start..<end]
            if keepsRest, decoder.isAtEnd || decoder.isAtGroup && isProse(line), !isBase64(line.trimmed), !line.trimmed.isEmpty {
                decoder.finish()
                let end: [UInt8] = decoder.result.isEmpty || decoder.result.last == 0x0A ? [] : [0x0D, 0x0A]
                return decoder.result + end + bytes[start...]
            }
            decoder.add(line, alphabet(of: line))
            start = end
        }
        decoder.finish()
        return decoder.result
    }

    private struct Base64Decoder {
        var result: [UInt8] = []
        private var bits: UInt32 = 0
        private var count = 0
        /// Whether the last character was padding.
        private(set) var isAtEnd = false

        init(capacity: Int) { result.reserveCapacity(capacity) }

        var isAtGroup: Bool { count == 0 }

        mutating func add(_ line: ArraySlice<UInt8>, _ values: [UInt8]) {
            for byte in line {
                if byte == UInt8(ascii: "=") {
                    finish()
                    isAtEnd = true
                    continue
                }
                let value = values[Int(byte)]
                guard value != 0xFF else { continue }
                isAtEnd = false
                bits = bits << 6 | UInt32(value)
                count += 1
                if count == 4 {
                    result.append(UInt8(truncatingIfNeeded: bits >> 16))
                    result.append(UInt8(truncatingIfNeeded: bits >> 8))
                    result.append(UInt8(truncatingIfNeeded: bits))
                    (bits, count) = (0, 0)
                }
            }
        }

        /// Decodes the bytes of an incomplete group.
        mutating func finish() {
            if count == 3 {
                result.append(UInt8(truncatingIfNeeded: bits >> 10))
                result.append(UInt8(truncatingIfNeeded: bits >> 2))
            } else if count == 2 {
                result.append(UInt8(truncatingIfNeeded: bits >> 4))
            }
            (bits, count) = (0, 0)
        }
    }

    /// Whether a line can only be Base64: its groups are complete, and it is padded or long.
    private static func isBase64(_ line: ArraySlice<UInt8>) -> Bool {
        line.count % 4 == 0 && (line.last == UInt8(ascii: "=") || line.count >= longLine)
            && line.allSatisfy { urlValues[Int($0)] != 0xFF || $0 == UInt8(ascii: "=") }
            && line.contains { base64Values[Int($0)] != 0xFF }
    }

    /// How many letters a line needs to count as Base64 by its length alone.
    private static let longLine = 40

    /// Whether a line contains blanks or begins with `--`, as Base64 does not.
    private static func isProse(_ line: ArraySlice<UInt8>) -> Bool { line.trimmed.contains(0x20) || line.starts(with: "--".utf8) }

    /// Whether Base64 ends at the end of a byte: padded, or without remaining bits.
    static func isWhole(_ base64: [UInt8]) -> Bool {
        guard let last = base64.last, last != UInt8(ascii: "=") else { return true }
        let value = urlValues[Int(last)]
        return switch base64.count % 4 {
        case 0: true
        case 2: value & 0x0F == 0
        case 3: value & 0x03 == 0
        default: false
        }
    }

    // MARK: Quoted-printable

    static func quotedPrintable(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var index = bytes.startIndex
        while index < bytes.endIndex {
            let byte = bytes[index]
            guard byte == UInt8(ascii: "=") else {
                result.append(byte)
                index += 1
                continue
            }
            if let (value, next) = escape(bytes, index) {
                result.append(value)
                index = next
            } else if let next = softBreak(bytes, index) {
                index = next
            } else {
                result.append(byte)
                index += 1
            }
        }
        return result
    }

    private static func escape(_ bytes: ArraySlice<UInt8>, _ index: Int) -> (UInt8, Int)? {
        guard index + 2 < bytes.endIndex, let high = bytes[index + 1].hexadecimal, let low = bytes[index + 2].hexadecimal else {
            return nil
        }
        return (high << 4 | low, index + 3)
    }

    /// The position after a soft line break: `=`, blanks if there are any, and the end of the line.
    private static func softBreak(_ bytes: ArraySlice<UInt8>, _ index: Int) -> Int? {
        var next = index + 1
        while next < bytes.endIndex, next - index < 1_000, bytes[next] == 0x20 || bytes[next] == 0x09 || bytes[next] == 0x0D {
            next += 1
        }
        if next == bytes.endIndex { return next }
        return bytes[next] == 0x0A ? next + 1 : nil
    }

    /// Decodes the `Q` encoding of RFC 2047.
    static func q(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        var index = bytes.startIndex
        while index < bytes.endIndex {
            if bytes[index] == UInt8(ascii: "="), let (value, next) = escape(bytes, index) {
                result.append(value)
                index = next
            } else {
                result.append(bytes[index] == UInt8(ascii: "_") ? 0x20 : bytes[index])
                index += 1
            }
        }
        return result
    }

    // MARK: uuencode

    /// The file between `begin` and `end`; nil if there is none.
    private static func uuencoded(_ bytes: ArraySlice<UInt8>) -> [UInt8]? {
        var result: [UInt8] = []
        var hasBegun = false
        var start = bytes.startIndex
        while start < bytes.endIndex {
            let end = bytes.lineEnd(from: start)
            let line = bytes[start..<end].chomped
            start = end
            guard hasBegun else {
                hasBegun = line.starts(with: "begin ".utf8)
                continue
            }
            if line.elementsEqual("end".utf8) { break }
            result += uudecoded(line: line)
        }
        return hasBegun ? result : nil
    }

    /// How many bytes a line of uuencode has, by its first character.
    static func uuLength(_ line: ArraySlice<UInt8>) -> Int { line.first.map { Int(($0 &- 0x20) & 0x3F) } ?? 0 }

    /// The bytes of a line of uuencode, whose blanks at the end may be missing.
    static func uudecoded(line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var group: [UInt8] = []
        var decoded: [UInt8] = []
        for byte in line.dropFirst() + [0x20, 0x20, 0x20] {
            group.append((byte &- 0x20) & 0x3F)
            guard group.count == 4 else { continue }
            decoded += [group[0] << 2 | group[1] >> 4, group[1] << 4 | group[2] >> 2, group[2] << 6 | group[3]]
            group = []
        }
        return decoded.prefix(uuLength(line))
    }
}
