/// Decodes header fields with encoded words (RFC 2047), even if they are padded or split incorrectly.
struct EncodedWords {
    private struct Word {
        let charset: String
        let isBase64: Bool
        let payload: ArraySlice<UInt8>
        /// The bytes of the word as they are in the field.
        let whole: ArraySlice<UInt8>
    }

    private let hint: String?
    private var text = ""
    /// The charset and bytes of the last words. The bytes are kept while the next word may complete their last character.
    private var charset: String?
    private var bytes: [UInt8] = []
    private var base64: [UInt8] = []
    /// The last words in their original form, which is used if they can't be decoded.
    private var undecoded: [UInt8] = []

    /// What is wrong with the text of a value.
    struct Flaws {
        /// The label of an unknown charset. Non-ASCII text in an unknown charset is a guess.
        var unknownCharset: String?
        /// Whether U+FFFD replaces bytes without a character.
        var isDamaged = false
    }

    private var flaws = Flaws()

    private init(hint: String?) { self.hint = hint }

    /// What is wrong with the text of a value.
    static func flaws(of value: ArraySlice<UInt8>, hint: String?) -> Flaws {
        guard value.contains(where: { $0 == UInt8(ascii: "=") || $0 > 0x7F }) else { return Flaws() }
        var words = EncodedWords(hint: hint)
        words.read(value)
        words.flush()
        return words.flaws
    }

    /// - Parameter hint: The charset of the rest of the message, for unencoded bytes in the header.
    static func text(_ value: ArraySlice<UInt8>, hint: String? = nil) -> String {
        var words = EncodedWords(hint: hint)
        words.read(value)
        words.flush()
        return words.text
    }

    private mutating func read(_ value: ArraySlice<UInt8>) {
        var plain = value.startIndex
        var index = value.startIndex
        var closing = value.startIndex
        while index + 1 < value.endIndex {
            guard value[index] == UInt8(ascii: "="), value[index + 1] == UInt8(ascii: "?"),
                let (word, end) = Self.word(value, index, &closing)
            else {
                index += 1
                continue
            }
            let between = value[plain..<index]
            // Blanks between two encoded words are not part of the text.
            if charset == nil || !between.allSatisfy(\.isBlank) { append(between) }
            append(word)
            (index, plain) = (end, end)
        }
        append(value[plain...])
    }

    /// The encoded word at an index, and its end.
    ///
    /// - Parameter closing: The position of the next known `?=`. The position is kept so that a value without `?=` is searched only
    ///   once.
    private static func word(_ value: ArraySlice<UInt8>, _ start: Int, _ closing: inout Int) -> (Word, Int)? {
        let mark = UInt8(ascii: "?")
        guard let first = value[(start + 2)...].prefix(100).firstIndex(of: mark), first > start + 2, first + 2 < value.endIndex,
            value[first + 2] == mark
        else { return nil }
        let encoding = value[first + 1] | 0x20
        guard encoding == UInt8(ascii: "b") || encoding == UInt8(ascii: "q") else { return nil }
        let payload = first + 3
        closing = max(closing, payload)
        while closing + 1 < value.endIndex, value[closing] != mark || value[closing + 1] != UInt8(ascii: "=") { closing += 1 }
        guard closing + 1 < value.endIndex else {
            closing = value.endIndex
            return nil
        }
        let charset = String(decoding: value[(start + 2)..<first].prefix { $0 != UInt8(ascii: "*") }, as: UTF8.self)
        return (
            Word(
                charset: charset.lowercased(), isBase64: encoding == UInt8(ascii: "b"), payload: value[payload..<closing],
                whole: value[start..<(closing + 2)]),
            closing + 2
        )
    }

    private mutating func append(_ plain: ArraySlice<UInt8>) {
        guard !plain.isEmpty else { return }
        flush()
        add(plain, label: nil)
    }

    private mutating func add(_ bytes: ArraySlice<UInt8>, label: String?) {
        let decoded = Charset.decode(bytes, label: label, hint: hint)
        if Charset.isDamaged(decoded, bytes) { flaws.isDamaged = true }
        text += decoded
    }

    private mutating func append(_ word: Word) {
        // A word of Base64 without any letter of Base64 can't be decoded, so it stays as it is.
        if word.isBase64, !word.payload.isEmpty, !TransferEncoding.hasLetters(word.payload) { return append(word.whole) }
        if charset != word.charset { flush() }
        charset = word.charset
        if !word.payload.isEmpty { undecoded += word.whole }
        if word.isBase64 {
            base64 += word.payload
            // Whole groups are decoded separately, padded or not. A broken group is joined with the beginning of the next word.
            if TransferEncoding.isWhole(base64) { decodeBase64() }
        } else {
            decodeBase64()
            bytes += TransferEncoding.q(word.payload)
        }
    }

    private mutating func decodeBase64() {
        guard !base64.isEmpty else { return }
        bytes += TransferEncoding.base64(base64[...], keepsRest: false)
        base64 = []
    }

    private mutating func flush() {
        decodeBase64()
        if let charset, !bytes.isEmpty {
            add(bytes[...], label: charset)
            if !CharsetLabels.isListed(charset), bytes.contains(where: { $0 > 0x7F }), !Charset.isKnown(charset) {
                flaws.unknownCharset = charset
            }
        } else {
            text += String(decoding: undecoded, as: UTF8.self)
        }
        (charset, bytes, undecoded) = (nil, [], [])
    }
}
