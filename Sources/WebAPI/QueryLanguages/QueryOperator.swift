import Model
import Records

/// The operators of query expressions, by their names in the enumeration `ConditionOperator`.
enum QueryOperator {
    /// - Throws: ``FieldsealError`` naming an operator that is not supported, or that needs other values.
    static func filter(_ name: String, _ column: RecordQuery.Column, _ values: [Literal]) throws(FieldsealError) -> Filter {
        if let comparison = comparisons[name.lowercased()] { return .compare(column, comparison, try one(values, name)) }
        switch name.lowercased() {
        case "null", "notnull":
            guard values.isEmpty else { throw FieldsealError(.queryDoesNotFit, "\(name.prefix(50)) takes no value.") }
            return name.lowercased() == "null" ? .isNull(column) : .not(.isNull(column))
        case "like": return .like(column, try pattern(TextPattern.sql(try text(values, name))))
        case "notlike": return .not(.like(column, try pattern(TextPattern.sql(try text(values, name)))))
        case "beginswith": return .like(column, try pattern(TextPattern.starts(with: try text(values, name))))
        case "doesnotbeginwith": return .not(.like(column, try pattern(TextPattern.starts(with: try text(values, name)))))
        case "endswith": return .like(column, try pattern(TextPattern.ends(with: try text(values, name))))
        case "doesnotendwith": return .not(.like(column, try pattern(TextPattern.ends(with: try text(values, name)))))
        default: break
        }
        if let filter = try Condition.filter(name, column, values) { return filter }
        throw FieldsealError(.queryDoesNotFit, "The operator \(name.prefix(50)) is not supported.")
    }

    private static let comparisons: [String: Filter.Comparison] = [
        "equal": .equal, "notequal": .notEqual, "greaterthan": .greater, "greaterequal": .greaterOrEqual, "lessthan": .less,
        "lessequal": .lessOrEqual,
    ]

    private static func one(_ values: [Literal], _ name: String) throws(FieldsealError) -> Literal {
        guard values.count == 1 else {
            throw FieldsealError(.queryDoesNotFit, "\(name.prefix(50)) takes 1 value, and was given \(values.count).")
        }
        return values[0]
    }

    private static func text(_ values: [Literal], _ name: String) throws(FieldsealError) -> String {
        guard case .text(let text) = try one(values, name) else {
            throw FieldsealError(.queryDoesNotFit, "\(name.prefix(50)) takes a text.")
        }
        return text
    }

    /// - Throws: ``FieldsealError`` `.queryDoesNotFit` if the client's text is not a valid pattern.
    static func pattern(_ pattern: TextPattern?) throws(FieldsealError) -> TextPattern {
        guard let pattern else {
            throw FieldsealError(
                .queryDoesNotFit, "A pattern has a range of characters that ends before it begins, such as [z-a].")
        }
        return pattern
    }
}
