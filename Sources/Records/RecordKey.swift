package import Foundation
import JSON
package import Model
import PostgresClient

/// The key by which a client names a record.
package enum RecordKey: Sendable {
    case id(UUID)
    /// The values of an alternate key.
    case alternate([(name: String, value: Literal)])
}

extension RecordKey {
    /// Parses a key predicate (OData 4.0 Part 2, section 4.3.1) without its parentheses: `ID`, `mailboxid=ID` or `name='x'`.
    ///
    /// - Throws: ``FieldsealError`` `.badRequest` for any other text.
    package init(_ text: String, of entity: EntityDefinition) throws(FieldsealError) {
        if let id = UUID(text: text) {
            self = .id(id)
            return
        }
        var values: [(name: String, value: Literal)] = []
        for part in Self.parts(text) {
            let pair = part.split(separator: "=", maxSplits: 1)
            guard pair.last?.trimmingCharacters(in: .whitespaces).hasPrefix("@") != true else {
                throw FieldsealError(
                    .badRequest, "A key takes no parameter alias. Write the value itself, such as name='VALUE', percent-encoded.")
            }
            guard pair.count == 2, let value = Self.literal(pair[1].trimmingCharacters(in: .whitespaces)) else {
                throw FieldsealError(
                    .badRequest,
                    "The key of \(entity.withArticle) is an id such as 00000000-0000-0000-0000-000000000000, or NAME='VALUE'.")
            }
            values.append((pair[0].trimmingCharacters(in: .whitespaces).lowercased(), value))
        }
        if values.count == 1, entity[values[0].name]?.column == entity.idColumn, case .text(let text) = values[0].value,
            let id = UUID(text: text)
        {
            self = .id(id)
        } else {
            self = .alternate(values)
        }
    }

    /// Splits at commas outside of quotes.
    private static func parts(_ text: String) -> [Substring] {
        var parts: [Substring] = []
        var start = text.startIndex
        var isQuoted = false
        for index in text.indices {
            if text[index] == "'" { isQuoted.toggle() }
            if text[index] == ",", !isQuoted {
                parts.append(text[start..<index])
                start = text.index(after: index)
            }
        }
        return parts + [text[start...]]
    }

    private static func literal(_ text: String) -> Literal? {
        if text.count >= 2, text.hasPrefix("'"), text.hasSuffix("'") {
            guard !text.utf8.contains(0) else { return nil }
            let inner = text.dropFirst().dropLast().replacing("''", with: "\u{0}")
            return inner.contains("'") ? nil : .text(String(inner.replacing("\u{0}", with: "'")))
        }
        if text == "null" { return .null }
        if text == "true" || text == "false" { return .bool(text == "true") }
        if AttributeType.isDecimal(text) { return .number(text) }
        return UUID(text: text).map { .text($0.text) }
    }

    /// The key as a URL's key predicate, without parentheses and not percent-encoded.
    package var text: String {
        switch self {
        case .id(let id): id.text
        case .alternate(let values): values.map { "\($0.name)=\(Self.text($0.value))" }.joined(separator: ",")
        }
    }

    private static func text(_ literal: Literal) -> String {
        switch literal {
        case .null: "null"
        case .bool(let flag): String(flag)
        case .number(let text): text
        case .text(let text): "'\(text.replacing("'", with: "''"))'"
        }
    }

    /// The members of a new record: those that the client gave, and the values of the alternate key that are not among them.
    func completed(_ given: [JSONValue.Member]) -> [JSONValue.Member] {
        guard case .alternate(let values) = self else { return given }
        let names = Set(given.map { $0.name.lowercased() })
        return given
            + values.filter { !names.contains($0.name) }.map { name, value in
                switch value {
                case .null: JSONValue.Member(name, .null)
                case .bool(let flag): JSONValue.Member(name, .bool(flag))
                case .number(let text): JSONValue.Member(name, Int64(text).map(JSONValue.integer) ?? .number(text))
                case .text(let text): JSONValue.Member(name, .string(text))
                }
            }
    }
}
