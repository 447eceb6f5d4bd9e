import Foundation

// Error messages in the reader's language. The English messages are keys of the message files, with `{1}`, `{2}` … for values.
extension Texts {
    private static let errorPrefix = "error:"

    /// An error's message in this language if it is translated; else the original.
    func told(_ message: String) -> String {
        if let text = messages["\(Self.errorPrefix)\(message)"] { return text }
        var best: (text: String, values: [String: String], weight: Int)?
        for (key, text) in messages where key.hasPrefix(Self.errorPrefix) && key.contains("{") {
            let parts = Self.literals(key.dropFirst(Self.errorPrefix.count))
            let weight = parts.reduce(0) { $0 + $1.utf8.count }
            // If several match, the one with the most literal text is used.
            guard weight > best?.weight ?? 0, let values = Self.values(in: message, between: parts) else { continue }
            best = (text, values, weight)
        }
        guard let best else { return message }
        return filled(best.text, best.values.mapValues(named))
    }

    /// The readable name of a role, an entity or an attribute.
    private func named(_ value: String) -> String {
        optional("role:\(value)") ?? optional("entity:\(value)") ?? optional("attribute:\(value)") ?? value
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

    /// The values of a message with this text between them; nil if it does not match.
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
