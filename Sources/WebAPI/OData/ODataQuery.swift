import Fieldseal
import Foundation

/// The system query options of a request (OData 4.0 Part 1, section 11.2), checked against the entity.
struct ODataQuery: Sendable {
    private(set) var select: [AttributeDefinition] = []
    private(set) var top: Int?
    private(set) var continuation: RecordPage.Continuation?

    /// - Parameter query: The URL's query, percent-encoded; `+` is a space, as forms write it.
    /// - Throws: ``FieldsealError`` naming the option or the attribute.
    init(_ query: String?, for entity: EntityDefinition) throws(FieldsealError) {
        for (name, value) in try Self.options(query) {
            switch name {
            case "$select": select = try Self.select(value, of: entity)
            case "$top":
                guard let number = Int(value), number >= 0 else {
                    throw FieldsealError(.queryDoesNotFit, "$top takes a number that is not negative.")
                }
                top = number
            case "$skiptoken": continuation = try SkipToken.read(value)
            case "$filter", "$orderby", "$apply", "$expand", "$count", "$search", "$skip", "$compute":
                try Self.refuseEncrypted(value, name, entity)
                throw FieldsealError(.notImplemented, "\(name) is not supported.")
            default:
                // Options without a dollar are the client's own (OData 4.0 Part 2, section 5.2).
                guard !name.hasPrefix("$") else {
                    throw FieldsealError(.queryDoesNotFit, "There is no query option '\(name.prefix(100))'.")
                }
            }
        }
    }

    /// The decoded options, in their order.
    static func options(_ query: String?) throws(FieldsealError) -> [(name: String, value: String)] {
        var options: [(name: String, value: String)] = []
        for part in (query ?? "").split(separator: "&") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = decoded(pair[0]), let value = decoded(pair.count > 1 ? pair[1] : "") else {
                throw FieldsealError(.badRequest, "The URL's query is not properly percent-encoded.")
            }
            options.append((name, value))
        }
        return options
    }

    private static func decoded(_ text: Substring) -> String? {
        String(text.map { $0 == "+" ? " " : $0 }).removingPercentEncoding
    }

    private static func select(_ value: String, of entity: EntityDefinition) throws(FieldsealError) -> [AttributeDefinition] {
        var selected: [AttributeDefinition] = []
        for part in value.split(separator: ",") {
            let name = part.trimmingCharacters(in: .whitespaces)
            if name == "*" { return [] }
            let attribute = entity.attributes.first { $0.propertyName == name } ?? entity[name]
            guard let attribute, attribute.validFor.contains(.read) else {
                throw FieldsealError(.queryDoesNotFit, "\(entity.logicalName) has no property '\(name.prefix(100))' to select.")
            }
            if !selected.contains(where: { $0.logicalName == attribute.logicalName }) { selected.append(attribute) }
        }
        return selected
    }

    /// Refuses an expression that names an encrypted attribute outside of a string literal.
    private static func refuseEncrypted(_ expression: String, _ option: String, _ entity: EntityDefinition) throws(FieldsealError) {
        let outsideLiterals = expression.split(separator: "'", omittingEmptySubsequences: false).enumerated()
            .filter { $0.offset % 2 == 0 }.map(\.element)
        let words = outsideLiterals.flatMap { $0.split { !($0.isLetter || $0.isNumber || $0 == "_") } }.map { $0.lowercased() }
        guard let attribute = entity.encryptedAttributes.first(where: { words.contains($0.logicalName) }) else { return }
        throw FieldsealError(
            .queryDoesNotFit,
            "\(attribute.logicalName) is encrypted, and encrypted attributes can't be searched or sorted: \(option) must not name it."
        )
    }
}

/// The value of `$skiptoken`: where a page ended. It holds no secret and grants nothing.
enum SkipToken {
    static func write(_ continuation: RecordPage.Continuation) -> String {
        let remaining = continuation.remaining.map { ".\($0)" } ?? ""
        return continuation.after.text + remaining
    }

    static func read(_ text: String) throws(FieldsealError) -> RecordPage.Continuation {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), let after = UUID(uuidString: String(parts[0])) else { throw malformed }
        guard parts.count == 2 else { return .init(after: after, remaining: nil) }
        guard let remaining = Int(parts[1]), remaining > 0 else { throw malformed }
        return .init(after: after, remaining: remaining)
    }

    private static var malformed: FieldsealError {
        FieldsealError(.queryDoesNotFit, "This $skiptoken was not made by this service. Follow @odata.nextLink as it is.")
    }
}
