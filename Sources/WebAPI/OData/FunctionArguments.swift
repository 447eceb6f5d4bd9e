import Foundation
import JSON
import Model

/// The arguments of a function: in its parentheses, or as parameter aliases in the query (OData 4.0 Part 2, section 5.1.1.6.1).
struct FunctionArguments {
    private var values: [String: JSONValue] = [:]
    private let function: String

    /// - Parameters:
    ///   - text: The text in the parentheses.
    ///   - parameters: The required parameters of the function.
    ///   - optional: The optional parameters.
    /// - Throws: ``FieldsealError`` for an unknown parameter, a parameter that occurs twice, and an invalid value.
    init(_ text: String, _ query: String?, of function: String, _ parameters: [String], optional: [String] = [])
        throws(FieldsealError)
    {
        self.function = function
        let options = try ODataQuery.options(query)
        try ODataQuery.requireEachOnce(options)
        for part in Self.parts(text) where !part.trimmed.isEmpty {
            let pair = part.split(separator: "=", maxSplits: 1).map { String($0.trimmed) }
            guard pair.count == 2, (parameters + optional).contains(pair[0]), values[pair[0]] == nil else {
                throw FieldsealError(
                    .badRequest,
                    "\(function) takes (\(parameters.map { "\($0)=…" }.joined(separator: ","))), and not '\(part.prefix(100))'.")
            }
            var value = pair[1]
            if value.hasPrefix("@") {
                guard let alias = options.first(where: { $0.name == value }) else {
                    throw FieldsealError(.badRequest, "The query has no \(value.prefix(50)), which \(function) names.")
                }
                value = alias.value
            }
            values[pair[0]] = try Self.value(value, of: pair[0], function)
        }
        for name in parameters where values[name] == nil {
            throw FieldsealError(.badRequest, "\(function) takes \(name), which is missing: \(function)(\(name)=@p1)?@p1=….")
        }
    }

    subscript(name: String) -> JSONValue? { values[name] }

    /// The argument of a parameter that takes a list of names.
    ///
    /// - Throws: ``FieldsealError`` for an argument of another form.
    func names(_ name: String) throws(FieldsealError) -> [String] {
        guard case .array(let elements)? = values[name] else { throw misfit(name) }
        let names = elements.compactMap(\.string)
        guard names.count == elements.count, !names.isEmpty else { throw misfit(name) }
        return names
    }

    private func misfit(_ name: String) -> FieldsealError {
        FieldsealError(.badRequest, "\(function) takes a list of names as \(name), such as [\"mailbox\",\"queue\"].")
    }

    /// Splits at commas outside of quotes, brackets and braces.
    private static func parts(_ text: String) -> [Substring] {
        var parts: [Substring] = []
        var (start, depth) = (text.startIndex, 0)
        var quote: Character?
        for index in text.indices {
            let character = text[index]
            if let open = quote {
                if character == open { quote = nil }
                continue
            }
            switch character {
            case "'", "\"": quote = character
            case "(", "[", "{": depth += 1
            case ")", "]", "}": depth -= 1
            case "," where depth == 0:
                parts.append(text[start..<index])
                start = text.index(after: index)
            default: break
            }
        }
        return parts + [text[start...]]
    }

    /// Parses a literal of OData or a JSON value. A literal of an enumeration has its type before the quotes.
    private static func value(_ text: String, of name: String, _ function: String) throws(FieldsealError) -> JSONValue {
        if let quote = text.firstIndex(of: "'"), text.last == "'", text.count > 1, !"[{\"".contains(text.first ?? " ") {
            let type = text[..<quote]
            let inner = text[text.index(after: quote)...].dropLast()
            guard type.isEmpty || type.hasPrefix(ODataPath.namespace) || type.hasPrefix("mscrm."),
                !inner.replacing("''", with: "").contains("'")
            else { throw FieldsealError(.badRequest, "\(function) does not take \(name)=\(text.prefix(100)).") }
            return .string(String(inner.replacing("''", with: "'")))
        }
        if UUID(text: text) != nil { return .string(text) }
        // Some clients write the texts of a list in single quotes, which JSON does not allow.
        let json = text.contains("\"") ? text : text.replacing("'", with: "\"")
        guard let value = try? JSONParser.parse(Array(json.utf8)) else {
            throw FieldsealError(.badRequest, "\(function) does not take \(name)=\(text.prefix(100)): it is not a literal.")
        }
        return value
    }
}
