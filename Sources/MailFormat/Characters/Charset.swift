import CICU

/// Converts bytes of mail to text. Bytes without a character become U+FFFD; nothing is dropped.
enum Charset {
    /// How many bytes a guess uses.
    private static let sampleLimit = 1 << 16

    /// - Parameters:
    ///   - label: The declared charset; nil for none.
    ///   - hint: A charset that another part of the message declares, for bytes without a declared charset.
    static func decode(_ bytes: ArraySlice<UInt8>, label: String?, hint: String? = nil) -> String {
        let text: String
        let meaning = label.map(CharsetLabels.meaning) ?? .undeclared
        switch meaning {
        // A byte order mark of UTF-16 is more reliable than a label that contradicts it.
        case .undeclared where isWide(bytes), .utf8 where isWide(bytes): text = wide(bytes)
        // The byte order mark says whether the text is UTF-16BE or UTF-16LE.
        case .converters(let names) where hasWideMark(bytes) && names.contains { $0.hasPrefix("UTF-16") }: text = wide(bytes)
        case _ where bytes.starts(with: utf8Mark): text = String(validating: bytes, as: UTF8.self) ?? declared(bytes, meaning, hint)
        default: text = declared(bytes, meaning, hint)
        }
        // The byte order mark is not part of the text.
        return text.unicodeScalars.first == "\u{FEFF}" ? String(text.unicodeScalars.dropFirst()) : text
    }

    private static let utf8Mark: [UInt8] = [0xEF, 0xBB, 0xBF]

    private static func declared(_ bytes: ArraySlice<UInt8>, _ meaning: CharsetLabels.Meaning, _ hint: String?) -> String {
        switch meaning {
        case .undeclared: guess(bytes, hint: hint)
        case .utf8: utf8(bytes)
        case .utf16: wide(bytes)
        case .converters(CharsetLabels.japanese) where hasNewerJapanese(bytes): newerJapanese(bytes) ?? guess(bytes, hint: hint)
        case .converters(let names): best(bytes, names).map { fitting($0, bytes) } ?? guess(bytes, hint: hint)
        case .system(let name): SystemCharset.decode(bytes, name).map { fitting($0, bytes) } ?? guess(bytes, hint: hint)
        }
    }

    /// Returns `text`, which was decoded by the declared charset. If some bytes do not fit that charset and all bytes are valid
    /// UTF-8, decodes them as UTF-8.
    private static func fitting(_ text: String, _ bytes: ArraySlice<UInt8>) -> String {
        guard damage(text) > 0, bytes.contains(where: { $0 > 0x7F }), !bytes.contains(0) else { return text }
        return String(validating: bytes, as: UTF8.self) ?? text
    }

    /// Whether a U+FFFD in a text replaces bytes without a character. A U+FFFD that the bytes themselves encode in UTF-8 does not
    /// count.
    static func isDamaged(_ text: String, _ bytes: ArraySlice<UInt8>) -> Bool {
        guard text.unicodeScalars.contains("\u{FFFD}") else { return false }
        return !(String(validating: bytes, as: UTF8.self)?.unicodeScalars.contains("\u{FFFD}") ?? false)
    }

    /// UTF-8, also with surrogates in three bytes each, as some databases and phones write it (CESU-8).
    private static func utf8(_ bytes: ArraySlice<UInt8>) -> String {
        if let text = String(validating: bytes, as: UTF8.self) { return text }
        let text = String(decoding: bytes, as: UTF8.self)
        let hasSurrogates = bytes.indices.dropLast().contains { bytes[$0] == 0xED && bytes[$0 + 1] >= 0xA0 }
        guard hasSurrogates, let other = best(bytes, ["CESU-8"]), damage(other) < damage(text) else { return text }
        return other
    }

    /// Whether the bytes begin with the byte order mark of UTF-16, and contain zeros, as Latin characters do in UTF-16.
    private static func isWide(_ bytes: ArraySlice<UInt8>) -> Bool { hasWideMark(bytes) && bytes.prefix(sampleLimit).contains(0) }

    /// Whether the bytes begin with the byte order mark of UTF-16.
    private static func hasWideMark(_ bytes: ArraySlice<UInt8>) -> Bool {
        bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF])
    }

    /// Whether a label's charset is known, so that no guess is needed.
    static func isKnown(_ label: String) -> Bool {
        switch CharsetLabels.meaning(of: label) {
        case .undeclared, .utf8, .utf16: true
        case .converters(let names): best([], names) != nil
        case .system(let name): SystemCharset.exists(name)
        }
    }

    /// Text without a declared charset: UTF-8 if it is valid, else the hint, else ICU's guess, else windows-1252.
    private static func guess(_ bytes: ArraySlice<UInt8>, hint: String?) -> String {
        if let text = String(validating: bytes, as: UTF8.self) {
            return bytes.contains(0x1B) ? escaped(bytes) ?? text : text
        }
        if case .converters(let names)? = hint.map(CharsetLabels.meaning), let text = best(bytes, names), damage(text) == 0 {
            return text
        }
        // The text may be UTF-8 with a few invalid bytes, for example because a program cut it within a character.
        let text = String(decoding: bytes, as: UTF8.self)
        let wide = text.unicodeScalars.lazy.filter { $0.value > 0x7F && $0 != "\u{FFFD}" }.count
        if damage(text) * 2 <= wide { return text }
        if let name = LikelyCharset.label(of: bytes.prefix(sampleLimit)) ?? detected(bytes),
            case .converters(let names) = CharsetLabels.meaning(of: name), let text = best(bytes, names),
            damage(text) == 0
        {
            return text
        }
        return best(bytes, ["windows-1252"]) ?? text
    }

    /// Text with the escapes of ISO-2022-JP, which uses 7 bits and is often not declared.
    private static func escaped(_ bytes: ArraySlice<UInt8>) -> String? {
        let bytes = Array(bytes.prefix(sampleLimit))
        let isJapanese = bytes.indices.dropLast(2).contains {
            bytes[$0] == 0x1B && bytes[$0 + 1] == UInt8(ascii: "$")
                && (bytes[$0 + 2] == UInt8(ascii: "B") || bytes[$0 + 2] == UInt8(ascii: "@"))
                || bytes[$0] == 0x1B && bytes[$0 + 1] == UInt8(ascii: "(") && bytes[$0 + 2] == UInt8(ascii: "I")
        }
        if hasNewerJapanese(bytes[...]) { return newerJapanese(bytes[...]) }
        return isJapanese ? best(bytes[...], CharsetLabels.japanese) : nil
    }

    /// Whether the bytes have the escapes of JIS X 0213 (ISO-2022-JP-3, ISO-2022-JP-2004), which ICU lacks.
    private static func hasNewerJapanese(_ bytes: ArraySlice<UInt8>) -> Bool {
        bytes.contains(0x1B)
            && bytes.indices.dropLast(3).contains {
                bytes[$0] == 0x1B && bytes[$0 + 1] == UInt8(ascii: "$") && bytes[$0 + 2] == UInt8(ascii: "(")
                    && (UInt8(ascii: "O")...UInt8(ascii: "Q")).contains(bytes[$0 + 3])
            }
    }

    /// Text with JIS X 0213, by the system's converter. If that converter does not understand all bytes, its result is compared
    /// with ICU's, and the better result is used.
    private static func newerJapanese(_ bytes: ArraySlice<UInt8>) -> String? {
        let system = SystemCharset.decode(bytes, "ISO-2022-JP-3")
        if let system, damage(system) == 0 { return system }
        let other = best(bytes, CharsetLabels.japanese)
        guard let system, let other else { return system ?? other }
        return damage(system) <= damage(other) ? system : other
    }

    private static func detected(_ bytes: ArraySlice<UInt8>) -> String? {
        var name = [CChar](repeating: 0, count: 64)
        let confidence = bytes.prefix(sampleLimit).withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return Int32(0) }
            return icu_detect(start.assumingMemoryBound(to: CChar.self), Int32(bytes.count), &name, Int32(name.count))
        }
        guard confidence >= 30 else { return nil }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// UTF-16 by its byte order mark. Without a mark, the high byte of each pair is the byte that varies less, or that is zero more
    /// often. If neither decides, the high byte is the first byte (RFC 2781 section 4.3). UTF-8 without control characters is not
    /// UTF-16.
    private static func wide(_ bytes: ArraySlice<UInt8>) -> String {
        if bytes.starts(with: [0xFF, 0xFE]) { return best(bytes, ["UTF-16LE"]) ?? "" }
        if bytes.starts(with: [0xFE, 0xFF]) { return best(bytes, ["UTF-16BE"]) ?? "" }
        var zeros = [0, 0]
        var kinds: [Set<UInt8>] = [[], []]
        for (index, byte) in bytes.prefix(sampleLimit).enumerated() {
            if byte == 0 { zeros[index % 2] += 1 }
            kinds[index % 2].insert(byte)
        }
        let hasControls = bytes.contains { $0 < 0x20 && !$0.isBlank }
        if !hasControls, let text = String(validating: bytes, as: UTF8.self) { return text }
        let isBigEndian = kinds[0].count == kinds[1].count ? zeros[0] >= zeros[1] : kinds[0].count < kinds[1].count
        return best(bytes, [isBigEndian ? "UTF-16BE" : "UTF-16LE"]) ?? ""
    }

    /// The text from the converter that understands most of the bytes; nil if no converter has one of these names.
    private static func best(_ bytes: ArraySlice<UInt8>, _ names: [String]) -> String? {
        var found: (text: String, damage: Int)?
        for name in names {
            guard let text = converted(bytes, name) else { continue }
            let damage = damage(text)
            if damage == 0 { return text }
            if found.map({ damage < $0.damage }) ?? true { found = (text, damage) }
        }
        return found?.text
    }

    /// The number of U+FFFD, which replace bytes without a character, and of private-use characters.
    private static func damage(_ text: String) -> Int {
        text.unicodeScalars.lazy.filter { $0 == "\u{FFFD}" || ("\u{E000}"..."\u{F8FF}").contains($0) }.count
    }

    private static func converted(_ bytes: ArraySlice<UInt8>, _ name: String) -> String? {
        guard !name.isEmpty, name.utf8.count < 60, !name.utf8.contains(0), bytes.count < 1 << 30,
            let converter = icu_converter_open(name)
        else { return nil }
        defer { icu_converter_close(converter) }
        var capacity = bytes.count + 16
        while true {
            var count: Int32 = 0
            var units = [UInt16](unsafeUninitializedCapacity: capacity) { units, filled in
                // The C function requires an address (`assume_nonnull`), and an empty slice has none.
                var none: CChar = 0
                guard let start = units.baseAddress else { return }
                count = bytes.withUnsafeBytes { source in
                    icu_decode(
                        converter, start, Int32(capacity),
                        source.baseAddress?.assumingMemoryBound(to: CChar.self) ?? withUnsafePointer(to: &none) { $0 },
                        Int32(source.count))
                }
                filled = count < 0 ? 0 : min(Int(count), capacity)
            }
            guard count >= 0 else { return nil }
            guard Int(count) <= capacity else {
                capacity = Int(count) + 1
                continue
            }
            // ICU writes 0x1A for one bad byte, and a control character where its table has no character.
            for index in units.indices where units[index] == 0x1A || (0x80...0x9F).contains(units[index]) && units[index] != 0x85 {
                units[index] = 0xFFFD
            }
            return String(decoding: units, as: UTF16.self)
        }
    }
}
