/// A pattern of Dataverse's `like`: `%` matches any characters and `_` matches one. `[a-c]` matches one character of a set, and
/// `[^a-c]` one that is not in the set.
package struct TextPattern: Sendable, Equatable {
    /// The pattern for PostgreSQL's `LIKE` with `\` as the escape character, or a regular expression if the pattern has sets.
    let pattern: String
    let isRegularExpression: Bool

    package static func contains(_ text: String) -> TextPattern? { sql("%\(text)%") }
    package static func starts(with text: String) -> TextPattern? { sql("\(text)%") }
    package static func ends(with text: String) -> TextPattern? { sql("%\(text)") }

    /// A pattern for texts that contain `text`, in which no character is a wildcard.
    package static func holding(_ text: String) -> TextPattern {
        let parts = [Part.any] + text.map(Part.literal) + [.any]
        return TextPattern(pattern: parts.map(\.like).joined(), isRegularExpression: false)
    }

    /// Parses a pattern of SQL, in which `[%]` matches the character `%`.
    ///
    /// - Returns: Nil for a range that ends before it begins.
    package static func sql(_ text: String) -> TextPattern? {
        guard let parts = parts(of: text) else { return nil }
        let hasSets = parts.contains { if case .set = $0 { true } else { false } }
        return TextPattern(
            pattern: hasSets ? "^\(parts.map(\.regularExpression).joined())$" : parts.map(\.like).joined(),
            isRegularExpression: hasSets)
    }

    /// The pattern as a regular expression. PostgreSQL can cancel the match, whose time grows only with the length of the text. The
    /// time of `LIKE` grows with the text's length times the pattern's length, and `LIKE` can't be cancelled within one text.
    var regularExpression: String {
        guard !isRegularExpression else { return pattern }
        var parts: [Part] = []
        var rest = Substring(pattern)
        while let character = rest.popFirst() {
            switch character {
            case "%": parts.append(.any)
            case "_": parts.append(.one)
            case "\\": parts.append(.literal(rest.popFirst() ?? character))
            default: parts.append(.literal(character))
            }
        }
        return "^\(parts.map(\.regularExpression).joined())$"
    }

    private enum Part {
        case any, one
        case literal(Character)
        /// The characters and ranges of a set.
        case set([ClosedRange<Character>], isExcluded: Bool)

        var like: String {
            switch self {
            case .any: "%"
            case .one: "_"
            case .literal(let character): "%_\\".contains(character) ? "\\\(character)" : String(character)
            case .set: ""
            }
        }

        var regularExpression: String {
            switch self {
            case .any: ".*"
            case .one: "."
            case .literal(let character): Self.escaped(character)
            case .set(let ranges, let isExcluded):
                // One alternative for each character or range, so that no character has a special meaning.
                "(?\(isExcluded ? "!" : "=")\(ranges.map(Self.alternative).joined(separator: "|")))."
            }
        }

        private static func alternative(_ range: ClosedRange<Character>) -> String {
            range.lowerBound == range.upperBound
                ? escaped(range.lowerBound) : "[\(escaped(range.lowerBound))-\(escaped(range.upperBound))]"
        }

        /// Letters, digits and characters beyond ASCII are literal. Other characters are escaped by their numbers.
        private static func escaped(_ character: Character) -> String {
            character.unicodeScalars.map { scalar in
                if !scalar.isASCII || scalar.properties.isAlphabetic || scalar.properties.numericType != nil {
                    return String(scalar)
                }
                let digits = String(scalar.value, radix: 16)
                return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }.joined()
        }
    }

    private static func parts(of text: String) -> [Part]? {
        var parts: [Part] = []
        var rest = Substring(text)
        while let character = rest.popFirst() {
            switch character {
            case "%": parts.append(.any)
            case "_": parts.append(.one)
            case "[":
                // A bracket that is not closed is literal.
                guard let end = rest.dropFirst().firstIndex(of: "]") else {
                    parts.append(.literal("["))
                    continue
                }
                guard let set = set(rest[..<end]) else { return nil }
                parts.append(set)
                rest = rest[rest.index(after: end)...]
            default: parts.append(.literal(character))
            }
        }
        return parts
    }

    /// - Returns: Nil for a range that ends before it begins.
    private static func set(_ text: Substring) -> Part? {
        if text.count == 1, let only = text.first { return .literal(only) }
        let isExcluded = text.first == "^"
        var rest = isExcluded ? text.dropFirst() : text
        var ranges: [ClosedRange<Character>] = []
        while let first = rest.popFirst() {
            // The set is in lower case, like the values that the pattern is compared with.
            let low = lowercased(first)
            guard rest.first == "-", rest.count > 1 else {
                ranges.append(low...low)
                continue
            }
            rest.removeFirst()
            let high = lowercased(rest.removeFirst())
            guard low.unicodeScalars.count == 1, high.unicodeScalars.count == 1, low <= high else { return nil }
            ranges.append(low...high)
        }
        return ranges.isEmpty ? nil : .set(ranges, isExcluded: isExcluded)
    }

    private static func lowercased(_ character: Character) -> Character {
        let text = character.lowercased()
        return text.count == 1 ? text[text.startIndex] : character
    }
}
