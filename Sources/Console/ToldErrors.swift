import Foundation
import JSON

// Messages of the service in the reader's language. The English messages are keys of the message files, with `{1}`, `{2}` … for
// values.
extension Texts {
    /// An error's message in this language if it is translated; else the original.
    func told(_ message: String) -> String { translated(message, "error:") ?? message }

    /// What a request for approval is for, in this language if it is translated; else the original.
    func subject(_ text: String) -> String { translated(text, "subject:") ?? text }

    /// - Parameter prefix: The prefix of the keys that are considered.
    private func translated(_ message: String, _ prefix: String) -> String? {
        if let text = messages["\(prefix)\(message)"] { return text }
        var best: (text: String, values: [String: String], weight: Int)?
        for (key, text) in messages where key.hasPrefix(prefix) && key.contains("{") {
            let parts = Self.literals(key.dropFirst(prefix.count))
            let weight = parts.reduce(0) { $0 + $1.utf8.count }
            // If several match, the one with the most literal text is used.
            guard weight > best?.weight ?? 0, let values = Self.values(in: message, between: parts) else { continue }
            best = (text, values, weight)
        }
        return best.map { filled($0.text, $0.values.mapValues(named)) }
    }

    /// The readable form of a role, an entity, an attribute, a moment or the subject of a request for approval.
    private func named(_ value: String) -> String {
        optional("role:\(value)") ?? optional("entity:\(value)") ?? optional("attribute:\(value)")
            ?? translated(value, "subject:") ?? ISO8601.date(value).map(moment) ?? value
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
