import Model
import PostgresClient

// PostgreSQL evaluates the cheapest condition of a table first. If that is the client's condition, a query can take longer because a
// record matches that the caller may not read. The time would then reveal texts of hidden records, for example if an expensive
// subquery runs only after a match. So a condition that compares a text, or has a subquery, stands in a CASE behind the condition
// that the caller may read the row. PostgreSQL does not reorder the parts of a CASE (its documentation, 4.2.14).
//
// Comparisons of ids, numbers and dates stay outside, so that PostgreSQL can use their indexes. The time of such a query depends on
// the number of hidden records that match.
extension QueryScope {
    /// The condition in SQL, as parts that are joined with AND. Parts that compare texts or have subqueries are guarded.
    ///
    /// - Throws: As ``condition(_:_:)``.
    mutating func guardedConditions(_ filter: Filter, _ statement: inout StatementBuilder) throws(FieldsealError) -> [String] {
        if case .all(let parts) = filter {
            var conditions: [String] = []
            for part in parts { conditions += try guardedConditions(part, &statement) }
            return conditions
        }
        let before = statement.guardedUses
        let condition = try condition(filter, &statement)
        return [statement.guardedUses > before ? guarded(condition) : condition]
    }

    /// Makes a condition that PostgreSQL evaluates only for rows that the caller may read, in each of this SELECT's tables that the
    /// condition uses.
    func guarded(_ condition: String) -> String {
        let readable = tables.compactMap { table -> String? in
            table.restriction.flatMap { restriction -> String? in
                guard condition.contains("\(table.alias).") else { return nil }
                // An outer join may have found no row. Then there is nothing to hide.
                return table.alias == main.alias ? restriction : "(\(table.id) IS NULL OR \(restriction))"
            }
        }
        return readable.isEmpty ? condition : "CASE WHEN \(readable.joined(separator: " AND ")) THEN \(condition) END"
    }
}

extension QueryScope.Resolved {
    /// Whether a comparison with this value is guarded: texts, pictures, and names that are read from other records.
    var isGuarded: Bool { expression != nil || [.text, .bytes].contains(attribute.type.kind) }

    /// The expression to join by. A text of a row that the caller may not read is NULL there, so that it equals no other text.
    func joinable(_ expression: String) -> String {
        guard isGuarded, let restriction = table.restriction else { return expression }
        return "CASE WHEN \(restriction) THEN \(expression) END"
    }
}
