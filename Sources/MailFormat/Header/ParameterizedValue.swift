/// The value of Content-Type or Content-Disposition: a word and parameters (RFC 2045 section 5.1, RFC 2231), with tolerance for
/// common mistakes.
struct ParameterizedValue {
    /// A parameter's piece in RFC 2231: `name*2*=`.
    private struct Piece {
        let bytes: ArraySlice<UInt8>
        let isPercentEncoded: Bool
    }

    /// How many pieces of one parameter are joined.
    private static let pieceLimit = 1_000

    /// The word before the parameters in lower case, without quotes and comments.
    private(set) var word = ""
    private var plain: [String: [UInt8]] = [:]
    private var pieces: [String: [Int: Piece]] = [:]

    init(_ field: ArraySlice<UInt8>?) {
        guard let field else { return }
        var scanner = Scanner(bytes: field)
        word = scanner.word()
        while let (name, value) = scanner.parameter() { add(name, value) }
    }

    private mutating func add(_ name: String, _ value: [UInt8]) {
        let parts = name.split(separator: "*", maxSplits: 2, omittingEmptySubsequences: false)
        let base = String(parts[0])
        switch (parts.count, parts.count > 1 ? Int(parts[1]) : nil) {
        case (1, _): if plain[base] == nil { plain[base] = value }
        case (2, nil) where parts[1].isEmpty: put(base, 0, Piece(bytes: value[...], isPercentEncoded: true))
        case (2, let number?): put(base, number, Piece(bytes: value[...], isPercentEncoded: false))
        case (3, let number?) where parts[2].isEmpty: put(base, number, Piece(bytes: value[...], isPercentEncoded: true))
        default: break
        }
    }

    private mutating func put(_ name: String, _ number: Int, _ piece: Piece) {
        guard (0..<Self.pieceLimit).contains(number), pieces[name]?[number] == nil else { return }
        pieces[name, default: [:]][number] = piece
    }

    /// A parameter in its original form.
    func raw(_ name: String) -> [UInt8]? {
        if let plain = plain[name] { return plain }
        // Some programs split a boundary into pieces too.
        guard let pieces = pieces[name] else { return nil }
        return pieces.sorted { $0.key < $1.key }.flatMap { Array($0.value.bytes) }
    }

    /// A parameter as text, in any of the known forms.
    func text(_ name: String, hint: String? = nil) -> String? {
        if let pieces = pieces[name], !pieces.isEmpty { return Self.joined(pieces, hint) }
        guard let value = plain[name] else { return nil }
        // Some programs write a value in the form of `name*=` into `name=`.
        if let (charset, rest) = Self.charset(value[...]), rest.contains(UInt8(ascii: "%")) {
            return Charset.decode(Self.unescaped(rest)[...], label: charset, hint: hint)
        }
        return EncodedWords.text(value[...], hint: hint)
    }

    private static func joined(_ pieces: [Int: Piece], _ hint: String?) -> String {
        let ordered = pieces.sorted { $0.key < $1.key }.map(\.value)
        guard ordered.contains(where: \.isPercentEncoded) else {
            return EncodedWords.text(Array(ordered.map(\.bytes).joined())[...], hint: hint)
        }
        var label: String?
        var bytes: [UInt8] = []
        // Consecutive pieces are decoded together, because some programs split them inside of an escape.
        var escaped: [UInt8] = []
        for (index, piece) in ordered.enumerated() {
            guard piece.isPercentEncoded else {
                bytes += unescaped(escaped[...]) + piece.bytes
                escaped = []
                continue
            }
            var rest = piece.bytes
            if index == 0, let (charset, text) = charset(rest) ?? shortCharset(rest) { (label, rest) = (charset, text) }
            escaped += rest
        }
        bytes += unescaped(escaped[...])
        // Some programs quote the text within the encoded form.
        let quote = UInt8(ascii: "\"")
        if bytes.count > 2, bytes.first == quote, bytes.last == quote { bytes = Array(bytes.dropFirst().dropLast()) }
        return Charset.decode(bytes[...], label: label, hint: hint)
    }

    /// The prefix `charset'language'`, and the rest.
    private static func charset(_ value: ArraySlice<UInt8>) -> (String, ArraySlice<UInt8>)? {
        let quote = UInt8(ascii: "'")
        guard let first = value.prefix(60).firstIndex(of: quote),
            let second = value[(first + 1)...].prefix(60).firstIndex(of: quote),
            value[..<first].allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "%") })
        else { return nil }
        return (String(decoding: value[..<first], as: UTF8.self).lowercased(), value[(second + 1)...])
    }

    /// The prefix `charset'` of programs that leave out the language, and the rest.
    private static func shortCharset(_ value: ArraySlice<UInt8>) -> (String, ArraySlice<UInt8>)? {
        guard let quote = value.prefix(60).firstIndex(of: UInt8(ascii: "'")) else { return nil }
        let label = String(decoding: value[..<quote], as: UTF8.self).lowercased()
        return !label.isEmpty && CharsetLabels.isListed(label) ? (label, value[(quote + 1)...]) : nil
    }

    private static func unescaped(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        var index = bytes.startIndex
        while index < bytes.endIndex {
            if bytes[index] == UInt8(ascii: "%"), index + 2 < bytes.endIndex, let high = bytes[index + 1].hexadecimal,
                let low = bytes[index + 2].hexadecimal
            {
                result.append(high << 4 | low)
                index += 3
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return result
    }
}

extension ParameterizedValue {
    /// Parses the word and the parameters in order. Each byte is read once.
    private struct Scanner {
        let bytes: ArraySlice<UInt8>
        private var index: Int

        init(bytes: ArraySlice<UInt8>) { (self.bytes, index) = (bytes, bytes.startIndex) }

        /// The text before the first parameter.
        mutating func word() -> String {
            var word: [UInt8] = []
            skipBlanks()
            while index < bytes.endIndex {
                let byte = bytes[index]
                if byte == UInt8(ascii: ";") || byte == UInt8(ascii: ",") { break }
                // The value is `charset=utf-8` without a type before it.
                if byte == UInt8(ascii: "=") {
                    index = bytes.startIndex
                    return ""
                }
                if byte == UInt8(ascii: "(") || byte.isBlank {
                    let isComment = byte == UInt8(ascii: "(")
                    skipComments()
                    // A word with blanks around a slash continues, as in `text / plain`. In `text/plain charset=utf-8` the word
                    // ends at the blank.
                    guard let next = peek, isComment || next == UInt8(ascii: "/") || word.last == UInt8(ascii: "/") else { break }
                    continue
                }
                if byte != UInt8(ascii: "\"") { word.append(byte) }
                index += 1
            }
            return String(decoding: word.prefix(200), as: UTF8.self).lowercased()
        }

        private var peek: UInt8? { index < bytes.endIndex ? bytes[index] : nil }

        /// The next parameter: its name in lower case, and its value without quotes.
        mutating func parameter() -> (String, [UInt8])? {
            while index < bytes.endIndex {
                let byte = bytes[index]
                if byte.isBlank || byte == UInt8(ascii: ";") || byte == UInt8(ascii: ",") {
                    index += 1
                } else if byte == UInt8(ascii: "(") {
                    skipComment()
                } else {
                    let start = index
                    while let byte = peek, byte != UInt8(ascii: "="), byte != UInt8(ascii: ";"), byte != UInt8(ascii: ","),
                        !byte.isBlank
                    {
                        index += 1
                    }
                    let name = bytes[start..<index]
                    skipComments()
                    guard peek == UInt8(ascii: "=") else { continue }
                    index += 1
                    let text = String(decoding: name.prefix(200), as: UTF8.self).lowercased()
                    let isFileName = text.hasPrefix("name") || text.hasPrefix("filename")
                    // The name of a file may begin with a parenthesis, as in `(1) offer.pdf`.
                    if isFileName { skipBlanks() } else { skipComments() }
                    return (text, value(mayHaveBlanks: isFileName))
                }
            }
            return nil
        }

        private mutating func value(mayHaveBlanks: Bool) -> [UInt8] {
            if peek == UInt8(ascii: "\"") { return quoted(mayHaveQuotes: mayHaveBlanks) }
            let start = index
            while let byte = peek, byte != UInt8(ascii: ";"),
                mayHaveBlanks || !byte.isBlank && byte != UInt8(ascii: ",") && byte != UInt8(ascii: "(")
            {
                index += 1
            }
            return Array(bytes[start..<index].trimmed)
        }

        /// Reads a quoted string. A backslash escapes a quote or a backslash. Before any other character the backslash is kept,
        /// because it belongs to a Windows path.
        ///
        /// - Parameter mayHaveQuotes: Whether a quote before more text belongs to the value, as in `"a "b" c.pdf"`.
        private mutating func quoted(mayHaveQuotes: Bool) -> [UInt8] {
            var value: [UInt8] = []
            var quotes = mayHaveQuotes ? Self.quoteLimit : 0
            index += 1
            while index < bytes.endIndex {
                let byte = bytes[index]
                index += 1
                if byte == UInt8(ascii: "\"") {
                    if quotes == 0 || isEnd(index) { break }
                    quotes -= 1
                }
                if byte == UInt8(ascii: "\\"), let next = peek, next == UInt8(ascii: "\"") || next == UInt8(ascii: "\\") {
                    value.append(next)
                    index += 1
                } else {
                    value.append(byte)
                }
            }
            return value
        }

        /// Whether a value may end before an index. A value may end there if nothing follows, if a separator or another parameter
        /// follows, or if no further quote follows.
        private func isEnd(_ index: Int) -> Bool {
            let rest = bytes[index...].prefix(Self.lookahead).drop(while: \.isBlank)
            guard let next = rest.first, !";,(".utf8.contains(next), rest.contains(UInt8(ascii: "\"")) else { return true }
            let name = rest.prefix { !$0.isBlank && !"=\";".utf8.contains($0) }
            return !name.isEmpty && rest.dropFirst(name.count).first == UInt8(ascii: "=")
        }

        /// How many bytes after a quote are read to decide whether it ends a value, and how many quotes a value has at most.
        private static let lookahead = 200
        private static let quoteLimit = 20

        private mutating func skipBlanks() { while let byte = peek, byte.isBlank { index += 1 } }

        /// Skips blanks and comments.
        private mutating func skipComments() {
            skipBlanks()
            while peek == UInt8(ascii: "(") {
                skipComment()
                skipBlanks()
            }
        }

        private mutating func skipComment() {
            var depth = 0
            while index < bytes.endIndex {
                switch bytes[index] {
                case UInt8(ascii: "("): depth += 1
                case UInt8(ascii: ")"): depth -= 1
                case UInt8(ascii: "\\"): index += 1
                default: break
                }
                index += 1
                if depth == 0 { return }
            }
            index = bytes.endIndex
        }
    }
}
