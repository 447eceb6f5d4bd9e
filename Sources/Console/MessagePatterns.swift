/// The messages of one kind that have `{1}`, `{2}` … for values, ready to be compared with what the service says.
struct MessagePatterns: Sendable {
    private struct Pattern: Sendable {
        /// The text between the values.
        let literals: [String]
        /// How many bytes the literals have.
        let weight: Int
        let translation: String
    }

    /// The patterns, those with the most literal text first. The first pattern that matches a message is used.
    private let patterns: [Pattern]

    /// - Parameter prefix: The prefix of the keys of this kind.
    init(_ messages: [String: String], prefix: String) {
        patterns = messages.filter { $0.key.hasPrefix(prefix) && $0.key.contains("{") }.map { key, translation in
            let literals = Self.literals(key.dropFirst(prefix.count))
            return Pattern(literals: literals, weight: literals.reduce(0) { $0 + $1.utf8.count }, translation: translation)
        }
        .filter { $0.weight > 0 }
        .sorted { ($1.weight, $0.translation) < ($0.weight, $1.translation) }
    }

    /// The translation of a message, with placeholders, and the values by their numbers.
    func match(_ message: String) -> (translation: String, values: [String: String])? {
        for pattern in patterns {
            if let values = Self.values(in: message, between: pattern.literals) { return (pattern.translation, values) }
        }
        return nil
    }

    /// The text between the values of a message's key.
    private static func literals(_ key: Substring) -> [String] {
        var parts: [String] = []
        var rest = key
        while let open = rest.firstIndex(of: "{"), let close = rest[open...].firstIndex(of: "}") {
            parts.append(String(rest[..<open]))
            rest = rest[rest.index(after: close)...]
        }
        return parts + [String(rest)]
    }

    /// The values of a message with this text between them; nil if the message does not have this text.
    private static func values(in message: String, between literals: [String]) -> [String: String]? {
        guard let first = literals.first, let last = literals.last, message.hasPrefix(first) else { return nil }
        var rest = message.dropFirst(first.count)
        var values: [String: String] = [:]
        for (index, literal) in literals.dropFirst().enumerated() {
            let isLast = index == literals.count - 2
            let found =
                isLast
                ? (rest.hasSuffix(last) ? rest.index(rest.endIndex, offsetBy: -last.count) : nil)
                : rest.firstRange(of: literal)?.lowerBound
            guard let found else { return nil }
            values["\(index + 1)"] = String(rest[..<found])
            rest = isLast ? "" : rest[rest.index(found, offsetBy: literal.count)...]
        }
        return values
    }
}
