import JSON
import Model
import Records

// The criteria of metadata queries (`MetadataFilterExpression`), in the form of the Web API.
extension MetadataView {
    /// Whether a value matches criteria: `Conditions` and `Filters` joined by `FilterOperator`.
    ///
    /// Each condition is evaluated, even after the result is certain. So a condition that can't hold is refused at any
    /// position.
    static func matches(_ value: JSONValue, _ criteria: JSONValue?) throws(FieldsealError) -> Bool {
        guard let criteria, criteria != .null else { return true }
        guard case .object = criteria else { throw misfit("Criteria of a metadata query must be an object with Conditions.") }
        let isAny: Bool
        switch word(criteria["FilterOperator"])?.lowercased() {
        case nil where [nil, .null].contains(criteria["FilterOperator"]), "and": isAny = false
        case "or": isAny = true
        default: throw misfit("FilterOperator of a metadata query must be And or Or.")
        }
        var results: [Bool] = []
        for condition in try list("Conditions", of: criteria) { results.append(try holds(condition, value)) }
        for filter in try list("Filters", of: criteria) { results.append(try matches(value, filter)) }
        return isAny && !results.isEmpty ? results.contains(true) : results.allSatisfy { $0 }
    }

    private static func misfit(_ message: String) -> FieldsealError { FieldsealError(.badRequest, message) }

    private static func list(_ name: String, of criteria: JSONValue) throws(FieldsealError) -> [JSONValue] {
        switch criteria[name] {
        case nil, .null?: return []
        case .array(let elements)?: return elements
        default: throw misfit("\(name) of a metadata query must be an array.")
        }
    }

    /// The name of an enumeration's member, which may have its type before it: `Microsoft.Dynamics.CRM.LogicalOperator'Or'`.
    private static func word(_ value: JSONValue?) -> String? {
        guard let text = value?.string else { return nil }
        guard text.hasPrefix(ODataPath.namespace), text.hasSuffix("'"), let quote = text.firstIndex(of: "'") else { return text }
        return String(text[text.index(after: quote)...].dropLast())
    }

    private static func holds(_ condition: JSONValue, _ value: JSONValue) throws(FieldsealError) -> Bool {
        guard let name = condition["PropertyName"]?.string else {
            throw misfit("A condition of a metadata query must have a PropertyName.")
        }
        guard let given = condition["Value"] else {
            throw misfit("A condition of a metadata query must have a Value, which may be null.")
        }
        // A managed property is compared by its member `Value`.
        let own = value[name]?["Value"] ?? value[name] ?? .null
        let wanted = try MetadataOperand(given, comparedWith: name)
        switch condition["ConditionOperator"].flatMap({ $0 == .null ? nil : word($0) ?? "" }) {
        case "Equals", nil: return own == (try wanted.value(comparableWith: own))
        case "NotEquals": return own != (try wanted.value(comparableWith: own))
        case "In": return try wanted.values(comparableWith: own).contains(own)
        case "NotIn": return try !wanted.values(comparableWith: own).contains(own)
        case "GreaterThan": return try wanted.order(of: own) { $0 > $1 }
        case "LessThan": return try wanted.order(of: own) { $0 < $1 }
        default:
            throw misfit("The ConditionOperator of a metadata query must be Equals, NotEquals, In, NotIn, GreaterThan or LessThan.")
        }
    }
}

/// The value with which a condition compares a member of metadata.
private struct MetadataOperand {
    private let name: String
    private let wanted: JSONValue

    /// - Throws: ``FieldsealError`` for a value that is not of the type that it names.
    init(_ value: JSONValue, comparedWith name: String) throws(FieldsealError) {
        self.name = name
        wanted = try TypedValue.value(value, comparedWith: name)
    }

    /// The value to compare with the member's own value.
    ///
    /// - Throws: ``FieldsealError`` for a value that the member never has.
    func value(comparableWith own: JSONValue) throws(FieldsealError) -> JSONValue {
        try require(wanted, own)
        return wanted
    }

    func values(comparableWith own: JSONValue) throws(FieldsealError) -> [JSONValue] {
        guard case .array(let values) = wanted, !values.isEmpty else {
            throw FieldsealError(.badRequest, "In and NotIn of a metadata query take an array with at least one value.")
        }
        for value in values { try require(value, own) }
        return values
    }

    /// Compares numbers. A missing number has no order, so the result is false. Other values are refused.
    func order(of own: JSONValue, _ isOrdered: (Int64, Int64) -> Bool) throws(FieldsealError) -> Bool {
        guard case .integer(let right) = wanted, own == .null || MetadataMembers.kind(of: own) == "number" else {
            throw FieldsealError(
                .badRequest, "GreaterThan and LessThan of a metadata query compare numbers, and not \(name.prefix(100)).")
        }
        guard case .integer(let left) = own else { return false }
        return isOrdered(left, right)
    }

    private func require(_ value: JSONValue, _ own: JSONValue) throws(FieldsealError) {
        if let text = value.string { try MetadataMembers.requireKnown(text, of: name) }
        guard value != .null, own != .null else { return }
        guard let kind = MetadataMembers.kind(of: own) else {
            throw FieldsealError(
                .badRequest, "\(name.prefix(100)) is not a text, number or boolean, so it can be compared with null only.")
        }
        guard kind != MetadataMembers.kind(of: value) else { return }
        let given = MetadataMembers.kind(of: value) ?? "list"
        throw FieldsealError(
            .badRequest, "\(name.prefix(100)) is compared with \(kind.withArticle), and not with \(given.withArticle).")
    }
}
