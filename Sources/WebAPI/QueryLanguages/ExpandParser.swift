import Foundation
import Model
import Records

/// Parses `$expand` (OData 4.0 Part 2, section 5.1.2).
struct ExpandParser {
    private let aliases: [String: String]
    private static let depthLimit = 8
    private static let totalLimit = 15

    private static func count(_ expansions: [Expansion]) -> Int { expansions.reduce(0) { $0 + 1 + count($1.expansions) } }

    static func parse(_ text: String, aliases: [String: String]) throws(FieldsealError) -> [Expansion] {
        let expansions = try ExpandParser(aliases: aliases).items(text, depth: 1)
        guard count(expansions) <= totalLimit else {
            throw FieldsealError(
                .queryDoesNotFit, "$expand takes at most \(totalLimit) navigation properties on all levels together.")
        }
        return expansions
    }

    private func items(_ text: String, depth: Int) throws(FieldsealError) -> [Expansion] {
        guard depth <= Self.depthLimit else {
            throw FieldsealError(.queryDoesNotFit, "$expand may be nested at most \(Self.depthLimit) levels deep.")
        }
        var expansions: [Expansion] = []
        for item in try Self.split(text, at: ",") {
            let item = item.trimmingCharacters(in: .whitespaces)
            let name = String(item.prefix { $0 != "(" && $0 != "/" })
            guard !name.isEmpty, !name.contains(" ") else {
                throw FieldsealError(.queryDoesNotFit, "$expand takes the names of navigation properties.")
            }
            guard !expansions.contains(where: { $0.property == name }) else {
                throw FieldsealError(.queryDoesNotFit, "$expand names '\(name.prefix(100))' twice.")
            }
            let rest = item.dropFirst(name.count)
            if rest.isEmpty || rest == "/$ref" {
                var expansion = Expansion(name)
                expansion.isReference = rest == "/$ref"
                expansions.append(expansion)
                continue
            }
            guard !rest.hasPrefix("/") else {
                throw FieldsealError(
                    .queryDoesNotFit,
                    "$expand takes \(name.quotedForMessage) alone, with options in parentheses, or with /$ref and nothing behind it."
                )
            }
            guard rest.hasPrefix("("), rest.hasSuffix(")") else {
                throw FieldsealError(.queryDoesNotFit, "$expand has no matching parentheses behind '\(name.prefix(100))'.")
            }
            expansions.append(try expansion(name, rest.dropFirst().dropLast(), depth: depth))
        }
        return expansions
    }

    private func expansion(_ name: String, _ options: Substring, depth: Int) throws(FieldsealError) -> Expansion {
        var expansion = Expansion(name)
        var names: Set<Substring> = []
        for option in try Self.split(String(options), at: ";") {
            let pair = option.split(separator: "=", maxSplits: 1)
            guard pair.count == 2 else { throw FieldsealError(.queryDoesNotFit, "An option of $expand has no value.") }
            let value = String(pair[1])
            guard names.insert(pair[0].trimmed).inserted else {
                throw FieldsealError(.queryDoesNotFit, "$expand has the option '\(pair[0].prefix(50))' twice.")
            }
            switch pair[0].trimmingCharacters(in: .whitespaces) {
            case "$select": expansion.query.outputs = try ODataQuery.select(value)
            case "$filter": expansion.query.filter = try FilterParser.parse(value, aliases: aliases)
            case "$orderby": expansion.query.order = try ODataQuery.order(value)
            case "$top":
                guard let top = Int(value.trimmingCharacters(in: .whitespaces)), top >= 0 else {
                    throw FieldsealError(.queryDoesNotFit, "$top takes a number that is not negative.")
                }
                expansion.query.top = top
            case "$expand": expansion.expansions = try items(value, depth: depth + 1)
            default: throw FieldsealError(.queryDoesNotFit, "$expand has no option '\(pair[0].prefix(50))'.")
            }
        }
        return expansion
    }

    /// Splits at a separator outside of quotes and parentheses.
    static func split(_ text: String, at separator: Character) throws(FieldsealError) -> [Substring] {
        var parts: [Substring] = []
        var start = text.startIndex
        var depth = 0
        var isQuoted = false
        for index in text.indices {
            switch text[index] {
            case "'": isQuoted.toggle()
            case "(" where !isQuoted: depth += 1
            case ")" where !isQuoted:
                depth -= 1
                guard depth >= 0 else { throw FieldsealError(.queryDoesNotFit, "A closing parenthesis has no opening one.") }
            case separator where !isQuoted && depth == 0:
                parts.append(text[start..<index])
                start = text.index(after: index)
            default: continue
            }
        }
        guard depth == 0, !isQuoted else {
            throw FieldsealError(.queryDoesNotFit, "A quote or a parenthesis is not closed.")
        }
        parts.append(text[start...])
        return parts
    }
}
