import Model

extension QueryScope {
    /// Writes a condition with `any` or `all` over a many-to-many relationship as SQL.
    mutating func lambda(
        over association: Association,
        of table: Table,
        _ variable: String,
        _ filter: Filter?,
        _ isAll: Bool,
        _ statement: inout StatementBuilder
    ) throws(FieldsealError) -> String {
        var inner = try QueryScope(association.other, name: variable, outer: visible, &statement)
        let member = inner.main
        let link = try inner.join(
            association.relationship.intersect, name: nil, .inner,
            on: { "\($0.alias).\(association.other.idColumn) = \(member.id)" }, &statement)
        var conditions = ["\(link.alias).\(association.own.idColumn) = \(table.id)"]
        statement.noteGuardedUse()
        if let filter { conditions += try inner.lambdaConditions(filter, isAll, &statement) }
        return (isAll ? "NOT " : "") + inner.subquery(conditions)
    }
}
