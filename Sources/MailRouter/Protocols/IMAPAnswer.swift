/// An untagged response of an IMAP server (RFC 3501 and RFC 9051 section 9), with its literals separate from the line.
struct IMAPAnswer {
    var line: [UInt8] = []
    var literals: [[UInt8]] = []

    /// The deepest nesting of lists that is parsed.
    private static let depthLimit = 20

    /// A value in a response.
    enum Value {
        case atom([UInt8])
        case string([UInt8])
        case list([Value])

        /// The value's bytes in any notation; nil for NIL and for a list.
        var bytes: [UInt8]? {
            switch self {
            case .string(let bytes): bytes
            case .atom(let bytes): IMAPAnswer.uppercased(bytes[...]) == "NIL" ? nil : bytes
            case .list: nil
            }
        }

        func number<Number: FixedWidthInteger>() -> Number? { bytes.flatMap { Number(String(decoding: $0, as: UTF8.self)) } }
    }

    /// Whether the line begins with a text, regardless of case.
    func starts(with text: String) -> Bool { Self.uppercased(line.prefix(text.utf8.count)) == text.uppercased() }

    /// The items of a FETCH response, by their names in upper case; nil for another response.
    var fetched: [String: Value]? {
        guard starts(with: "* ") else { return nil }
        var reader = Reader(line: line, literals: literals, index: 2)
        guard case .atom? = reader.value(0), let name = reader.value(0)?.bytes, Self.uppercased(name[...]) == "FETCH",
            case .list(let values)? = reader.value(0)
        else { return nil }
        var items: [String: Value] = [:]
        for index in stride(from: 0, to: values.count - 1, by: 2) {
            guard case .atom(let name) = values[index] else { continue }
            items[Self.uppercased(name[...])] = values[index + 1]
        }
        return items
    }

    /// The number after a word in a status text, as in `[UIDNEXT 5]`.
    func number<Number: FixedWidthInteger>(after word: String) -> Number? {
        let text = Self.uppercased(line.prefix(1_000))
        guard let found = text.firstRange(of: "[\(word) ") else { return nil }
        return Number(text[found.upperBound...].prefix { $0.isASCII && $0.isNumber })
    }

    /// Whether a quoted string continues after the end of the line.
    var hasOpenQuote: Bool {
        var isOpen = false
        var isEscaped = false
        for byte in line {
            if isEscaped {
                isEscaped = false
            } else if byte == UInt8(ascii: "\\"), isOpen {
                isEscaped = true
            } else if byte == UInt8(ascii: "\"") {
                isOpen.toggle()
            }
        }
        return isOpen
    }

    static func uppercased(_ bytes: ArraySlice<UInt8>) -> String { String(decoding: bytes, as: UTF8.self).uppercased() }

    /// Reads values one after the other.
    private struct Reader {
        let line: [UInt8]
        let literals: [[UInt8]]
        var index: Int
        private var literal = 0

        init(line: [UInt8], literals: [[UInt8]], index: Int) { (self.line, self.literals, self.index) = (line, literals, index) }

        mutating func value(_ depth: Int) -> Value? {
            while index < line.count, line[index] == 0x20 { index += 1 }
            guard index < line.count, depth < IMAPAnswer.depthLimit else { return nil }
            switch line[index] {
            case UInt8(ascii: "("): return list(depth)
            case UInt8(ascii: "\""): return quoted()
            case UInt8(ascii: "{"): return nextLiteral()
            case UInt8(ascii: "~") where index + 1 < line.count && line[index + 1] == UInt8(ascii: "{"): return nextLiteral()
            default: return atom()
            }
        }

        private mutating func list(_ depth: Int) -> Value {
            index += 1
            var values: [Value] = []
            while true {
                while index < line.count, line[index] == 0x20 { index += 1 }
                if index < line.count, line[index] == UInt8(ascii: ")") {
                    index += 1
                    break
                }
                // If the server does not close a list, the values read so far are the list.
                guard let value = value(depth + 1) else { break }
                values.append(value)
            }
            return .list(values)
        }

        private mutating func quoted() -> Value {
            var bytes: [UInt8] = []
            index += 1
            while index < line.count, line[index] != UInt8(ascii: "\"") {
                if line[index] == UInt8(ascii: "\\"), index + 1 < line.count { index += 1 }
                bytes.append(line[index])
                index += 1
            }
            index += 1
            return .string(bytes)
        }

        private mutating func nextLiteral() -> Value? {
            guard let end = line[index...].prefix(30).firstIndex(of: UInt8(ascii: "}")), literal < literals.count else {
                return nil
            }
            index = end + 1
            defer { literal += 1 }
            return .string(literals[literal])
        }

        /// Reads a word, including brackets and their contents.
        private mutating func atom() -> Value? {
            let start = index
            var isSection = false
            while index < line.count {
                let byte = line[index]
                if byte == UInt8(ascii: "[") { isSection = true }
                if byte == UInt8(ascii: "]") { isSection = false }
                if !isSection, byte == 0x20 || byte == UInt8(ascii: "(") || byte == UInt8(ascii: ")") { break }
                index += 1
            }
            // The next byte is a parenthesis that closes a list, so there is no value.
            if index == start { return nil }
            return .atom(Array(line[start..<index]))
        }
    }
}
