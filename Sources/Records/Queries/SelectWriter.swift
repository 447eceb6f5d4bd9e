import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

/// Writes SELECT statements for a query.
struct SelectWriter {
    let query: RecordQuery
    private(set) var scope: QueryScope
    private(set) var statement: StatementBuilder

    /// The largest number of columns of a row that are long texts. Each long text may have many megabytes.
    private static let longTextLimit = 10

    init(
        _ query: RecordQuery,
        of entity: EntityDefinition,
        _ organization: Organization,
        _ caller: Caller
    ) throws(FieldsealError) {
        try QueryBounds.check(query)
        var statement = StatementBuilder(organization, caller, unknownAttributeCode: query.unknownAttributeCode)
        var scope = try QueryScope(entity, name: query.alias, &statement)
        for link in query.links { try scope.add(link, &statement) }
        var query = query
        query.outputs = query.outputs.enumerated().filter { index, output in
            !query.outputs[..<index].contains {
                $0.value == output.value && $0.name == output.name && $0.isHidden == output.isHidden
            }
        }.map(\.element)
        (self.query, self.scope, self.statement) = (query, scope, statement)
    }

    /// The WHERE clause; empty if there are no conditions.
    private func filter(_ conditions: [String]) -> String {
        conditions.isEmpty ? "" : " WHERE \(conditions.joined(separator: " AND "))"
    }

    private struct SortKey {
        let expression: String
        let value: String
        let type: AttributeType.Kind
        let isDescending: Bool
        /// Whether the client's value of a later page is compared with a text.
        var isGuarded = false
    }

    /// One row for each record, or for each combination of joined records.
    mutating func records(limit: Int) throws(FieldsealError) -> (sql: String, RowShape, keys: [Int]) {
        let main = scope.main
        var expressions = [main.id, "\(main.alias).versionnumber"]
        let columns = try outputs(&expressions)
        var keys: [SortKey] = []
        // The condition of a later page uses a key once, and once more for each key after it.
        let keyCount = query.order.count + scope.tables.count(where: { $0.traits.contains(.multiplies) })
        for (index, order) in query.order.enumerated() { keys.append(try sortKey(order, uses: 1 + keyCount - index)) }
        let condition = try condition()
        let firstID = keys.count
        // The records' ids make the order unique. The ids of outer joins may be null.
        for table in scope.tables where table.traits.contains(.multiplies) {
            keys.append(SortKey(expression: table.id, value: table.id, type: .id, isDescending: false))
        }
        var positions: [Int] = []
        var ids: Set<Int> = []
        for (number, key) in keys.enumerated() {
            if number == firstID {
                positions.append(0)
                ids.insert(0)
            } else {
                positions.append(expressions.count)
                if number > firstID { ids.insert(expressions.count) }
                expressions.append(number > firstID ? key.value : "(\(key.value))::text")
            }
        }
        var conditions = condition
        if let after = query.after { conditions.append(try self.after(after, keys)) }
        let shape = RowShape(
            entity: main.entity, columns: columns, query.identifiesRecords ? .identifiedRecords : .records, idColumns: ids,
            isSelected: !query.outputs.allSatisfy(\.isHidden))
        let order = keys.map { "\($0.expression) \($0.isDescending ? "DESC NULLS LAST" : "NULLS FIRST")" }
        let sorting = keys.count == 1 ? keys[0].expression : order.joined(separator: ", ")
        if let (column, rows) = query.limitPerReference {
            let reference = try scope.resolve(column, &statement).sql
            expressions.append("row_number() OVER (PARTITION BY \(reference) ORDER BY \(sorting)) AS n")
            let inner = "SELECT \(expressions.joined(separator: ", ")) FROM \(scope.from)\(filter(conditions))"
            let limit = statement.bind(.int64(Int64(limit) + 1))
            return (
                "SELECT * FROM (\(inner)) AS q WHERE n <= \(statement.bind(.int64(Int64(rows)))) ORDER BY n LIMIT \(limit)", shape,
                positions
            )
        }
        var sql = "SELECT \(expressions.joined(separator: ", ")) FROM \(scope.from)\(filter(conditions))"
        sql += " ORDER BY \(sorting)"
        sql += " LIMIT \(statement.bind(.int64(Int64(limit) + 1)))"
        if query.offset > 0, query.after == nil { sql += " OFFSET \(statement.bind(.int64(Int64(query.offset))))" }
        return (sql, shape, positions)
    }

    mutating func rowCount() throws(FieldsealError) -> String {
        let conditions = try condition()
        return "SELECT count(*) FROM \(scope.from)\(filter(conditions))"
    }

    private mutating func condition() throws(FieldsealError) -> [String] {
        guard let filter = query.filter else { return scope.conditions }
        let conditions = try scope.guardedConditions(filter, &statement)
        return scope.conditions + conditions
    }

    private mutating func outputs(_ expressions: inout [String]) throws(FieldsealError) -> [RowShape.Column] {
        var columns: [RowShape.Column] = []
        var longTexts = 0
        func add(_ resolved: QueryScope.Resolved, _ name: String?, isHidden: Bool = false) throws(FieldsealError) {
            let attribute = resolved.attribute
            if attribute.type.isLongText { longTexts += 1 }
            guard longTexts <= Self.longTextLimit else {
                throw FieldsealError(
                    .queryDoesNotFit, "A query may give \(Self.longTextLimit) long texts, and this one gives more. Split it.")
            }
            let index = attribute.isEncrypted ? nil : expressions.count
            if index != nil { expressions.append(attribute.type.isNumeric ? "\(resolved.sql)::text" : resolved.sql) }
            let isRenamed = name != nil || resolved.table.alias != scope.main.alias
            let traits: RowShape.Column.Traits = isHidden ? .hidden : []
            columns.append(
                .init(
                    name: name ?? attribute.propertyName, attribute: attribute, type: attribute.type, index: index,
                    isRenamed ? traits.union(.renamed) : traits))
        }
        for output in query.outputs {
            guard case .column(let column) = output.value else { continue }
            try add(try scope.resolveReadable(column, &statement), output.name, isHidden: output.isHidden)
        }
        if query.outputs.allSatisfy(\.isHidden) {
            for attribute in scope.main.entity.attributes where attribute.validFor.contains(.read) || attribute.isEncrypted {
                try add(.init(table: scope.main, attribute: attribute), nil)
            }
        }
        try Self.requireNames(columns)
        // The response has a record's id under the name of the id attribute, so no other column may have that name.
        let id = scope.main.entity.primaryID
        guard !query.identifiesRecords || !columns.contains(where: { $0.isRenamed && !$0.isHidden && $0.name == id }) else {
            throw FieldsealError(
                .queryDoesNotFit, "\(id) is the name of the record's id in the response. Give the column another alias.")
        }
        return columns
    }

    /// Refuses columns with the same name in a row of the response. Names that differ only in case are the same, as in SQL.
    private static func requireNames(_ columns: [RowShape.Column]) throws(FieldsealError) {
        var names: Set<String> = []
        for column in columns where !column.isHidden && !names.insert(column.name.lowercased()).inserted {
            throw FieldsealError(
                .queryDoesNotFit, "Two columns of the response are called \(column.name.quotedForMessage). Give one an alias.")
        }
    }

    private mutating func sortKey(_ order: RecordQuery.Order, uses: Int) throws(FieldsealError) -> SortKey {
        let column =
            switch order.key {
            case .column(let column): column
            case .output(let name): try column(ofOutput: name)
            }
        let resolved = named(try scope.resolve(column, &statement))
        guard resolved.attribute.type.kind != .bytes else {
            throw FieldsealError(.queryDoesNotFit, "Pictures can't be sorted by: \(resolved.attribute.logicalName).")
        }
        try statement.count(resolved, uses: uses)
        return SortKey(
            expression: resolved.sortable, value: resolved.sql, type: resolved.attribute.type.kind,
            isDescending: order.isDescending, isGuarded: resolved.isGuarded)
    }

    /// What a lookup is sorted by: the name of the record that it refers to. A lookup that is NULL sorts as NULL, even if the row
    /// stores a name for it.
    private func named(_ column: QueryScope.Resolved) -> QueryScope.Resolved {
        guard query.sortsLookupsByName, !column.isOwnersID, var name = statement.name(of: column) else { return column }
        if name.expression == nil, column.attribute.required != .system {
            name.expression = "CASE WHEN \(column.sql) IS NOT NULL THEN \(name.sql) END"
        }
        return name
    }

    private func column(ofOutput name: String) throws(FieldsealError) -> RecordQuery.Column {
        for output in query.outputs {
            if case .column(let column) = output.value, (output.name ?? column.name).lowercased() == name.lowercased() {
                return column
            }
        }
        throw FieldsealError(.queryDoesNotFit, "There is no output \(name.quotedForMessage) to sort by.")
    }

    /// The condition for rows after the token's row: greater in the first key, or equal in it and greater in the second, and so on.
    private mutating func after(_ token: RecordQuery.PageToken, _ keys: [SortKey]) throws(FieldsealError) -> String {
        guard token.values.count == keys.count else { throw Self.malformedToken }
        var alternatives: [String] = []
        var equal: [String] = []
        for (key, value) in zip(keys, token.values) {
            guard let value else {
                if !key.isDescending { alternatives.append((equal + ["\(key.value) IS NOT NULL"]).joined(separator: " AND ")) }
                equal.append("\(key.value) IS NULL")
                continue
            }
            guard key.type.reads(value) else { throw Self.malformedToken }
            let bound = statement.bind(.text(value))
            let typed = key.type == .text ? "lower(\(bound))" : "\(bound)::\(key.type.rawValue)"
            let greater =
                key.isDescending
                ? "(\(key.expression) < \(typed) OR \(key.value) IS NULL)" : "\(key.expression) > \(typed)"
            alternatives.append((equal + [greater]).joined(separator: " AND "))
            equal.append("\(key.expression) = \(typed)")
        }
        let condition = alternatives.count == 1 ? alternatives[0] : "(\(alternatives.map { "(\($0))" }.joined(separator: " OR ")))"
        return keys.contains(where: \.isGuarded) ? scope.guarded(condition) : condition
    }

    private static var malformedToken: FieldsealError {
        FieldsealError(
            .queryDoesNotFit,
            "This paging token does not belong to this query. Send the next link, or the paging cookie, as the service gave it.")
    }

    /// The statement that returns one row for each group.
    mutating func grouped(limit: Int?) throws(FieldsealError) -> (sql: String, RowShape) {
        var groups: [String] = []
        var groupColumns: [QueryScope.Resolved] = []
        for group in query.groups {
            let resolved = try scope.resolve(group.column, &statement)
            try statement.count(resolved)
            groupColumns.append(resolved)
            groups.append(try expression(resolved, group.part))
        }
        var expressions: [String] = []
        var columns: [RowShape.Column] = []
        for (index, output) in query.outputs.enumerated() {
            let (sql, type, attribute, name) = try self.output(output, groupColumns, &groups)
            expressions.append("\(sql) AS c\(index)")
            let traits: RowShape.Column.Traits = output.isHidden ? .hidden : []
            columns.append(
                .init(
                    name: output.name ?? name, attribute: attribute, type: type, index: index,
                    output.name == nil ? traits : traits.union(.renamed)))
        }
        try Self.requireNames(columns)
        guard !columns.allSatisfy(\.isHidden) else {
            throw FieldsealError(.queryDoesNotFit, "A grouped query needs at least one column in its result.")
        }
        let conditions = try condition()
        let results = columns.indices.map { "c\($0)" }.joined(separator: ", ")
        var order: [String] = []
        var isSorted: Set<Int> = []
        for key in query.order {
            let index = try outputIndex(key.key, columns)
            let direction = key.isDescending ? " DESC NULLS LAST" : " NULLS FIRST"
            if let name = try nameOfGroup(query.outputs[index]) {
                expressions.append("min(\(name)) AS n\(index)")
                order.append("n\(index)\(direction)")
            } else {
                isSorted.insert(index)
            }
            order.append(sorting(index, columns[index].type) + direction)
        }
        order += columns.indices.filter { !isSorted.contains($0) }.map { "\(sorting($0, columns[$0].type)) NULLS FIRST" }
        var sql = "SELECT \(expressions.joined(separator: ", ")) FROM \(scope.from)\(filter(conditions))"
        if !groups.isEmpty { sql += " GROUP BY \(groups.joined(separator: ", "))" }
        sql = "SELECT \(results) FROM (\(sql)) AS q ORDER BY \(order.joined(separator: ", "))"
        if let limit {
            sql += " LIMIT \(statement.bind(.int64(Int64(limit) + 1)))"
            sql += " OFFSET \(statement.bind(.int64(Int64(query.after?.offset ?? query.offset))))"
        }
        return (sql, RowShape(entity: scope.main.entity, columns: columns, .values))
    }

    /// The name that a group of a lookup is sorted by; nil for other outputs.
    private mutating func nameOfGroup(_ output: RecordQuery.Output) throws(FieldsealError) -> String? {
        guard case .column(let column) = output.value else { return nil }
        let resolved = try scope.resolve(column, &statement)
        let name = named(resolved)
        return name.sql == resolved.sql ? nil : name.sortable
    }

    private func sorting(_ index: Int, _ type: AttributeType) -> String {
        type.isText ? "lower(c\(index))" : type.isNumeric ? "c\(index)::numeric" : "c\(index)"
    }

    private func outputIndex(_ key: RecordQuery.Order.Key, _ columns: [RowShape.Column]) throws(FieldsealError) -> Int {
        let name =
            switch key {
            case .output(let name): name
            case .column(let column): column.name
            }
        let index =
            columns.firstIndex { $0.name.lowercased() == name.lowercased() }
            ?? columns.firstIndex { $0.attribute?.logicalName == name.lowercased() }
        guard let index else {
            if query.isDistinct, query.groups.isEmpty {
                throw FieldsealError(
                    .queryDoesNotFit,
                    "Distinct rows can be sorted only by columns of their result. Add \(name.quotedForMessage) to the attributes, "
                        + "or sort by another."
                )
            }
            throw FieldsealError(
                .queryDoesNotFit,
                "A grouped query can be sorted only by columns of its result, and not by \(name.quotedForMessage).")
        }
        return index
    }

    private func expression(_ column: QueryScope.Resolved, _ part: RecordQuery.DatePart?) throws(FieldsealError) -> String {
        guard let part else {
            guard column.attribute.type.kind != .bytes else { throw QueryScope.mismatch(column.attribute, "others") }
            return column.comparable
        }
        guard case .dateTime = column.attribute.type else { throw QueryScope.mismatch(column.attribute, "a part of a date") }
        let date = "(\(column.sql) AT TIME ZONE 'UTC')"
        guard part == .week else { return "extract(\(part.rawValue) FROM \(date))::int8" }
        // The first week of a year begins on 1 January, and each further week on a Sunday. PostgreSQL's weeks are those of ISO
        // 8601.
        return "((extract(doy FROM \(date))::int8 - 1 + extract(dow FROM date_trunc('year', \(date)))::int8) / 7 + 1)"
    }

    private mutating func output(
        _ output: RecordQuery.Output,
        _ groupColumns: [QueryScope.Resolved],
        _ groups: inout [String]
    ) throws(FieldsealError) -> (sql: String, AttributeType, AttributeDefinition?, name: String) {
        switch output.value {
        case .column(let column):
            let resolved = try scope.resolve(column, &statement)
            // One text represents its group, and the groups are sorted by this text, so the attribute is used twice.
            try statement.count(resolved, uses: 2)
            let isGroup = groupColumns.contains { $0.sql == resolved.sql }
            if !isGroup, query.isDistinct, query.groups.isEmpty {
                groups.append(try expression(resolved, nil))
            } else if !isGroup {
                throw FieldsealError(
                    .queryDoesNotFit, "\(resolved.attribute.logicalName) is neither grouped by nor aggregated.")
            }
            let attribute = resolved.attribute
            // Texts that differ only in case are one group. One of the texts represents the group.
            let sql =
                attribute.type.isText
                ? "min(\(resolved.sql))" : attribute.type.isNumeric ? "\(resolved.sql)::text" : resolved.comparable
            return (sql, attribute.type, attribute, attribute.propertyName)
        case .part(let part, let column):
            let resolved = try scope.resolve(column, &statement)
            return (try expression(resolved, part), .bigInt, nil, part.rawValue)
        case .aggregate(let aggregate, let column):
            guard let column else { return ("count(*)", .bigInt, nil, "count") }
            let resolved = try scope.resolve(column, &statement)
            try statement.count(resolved, uses: 2)
            return try aggregated(aggregate, resolved)
        }
    }

    private func aggregated(
        _ aggregate: RecordQuery.Aggregate,
        _ column: QueryScope.Resolved
    ) throws(FieldsealError) -> (sql: String, AttributeType, AttributeDefinition?, name: String) {
        let attribute = column.attribute
        let kind = attribute.type.kind
        let name = "\(aggregate.rawValue)_\(attribute.logicalName)"
        switch (aggregate, kind) {
        // All rows, also those without a value (FetchXML's `count`).
        case (.count, _): return ("count(*)", .bigInt, nil, name)
        case (.countColumn, _): return ("count(\(column.sql))", .bigInt, nil, name)
        case (.countDistinct, _): return ("count(DISTINCT \(column.comparable))", .bigInt, nil, name)
        // As in Dataverse, a sum of integers is an integer, and an average of integers loses its fraction.
        case (.sum, .integer): return ("sum(\(column.sql))::int8", .bigInt, nil, name)
        case (.average, .integer): return ("trunc(avg(\(column.sql)))::int8", .bigInt, nil, name)
        case (.sum, .decimal): return ("sum(\(column.sql))::text", .decimal, nil, name)
        case (.average, .decimal):
            return ("trim_scale(round(avg(\(column.sql)), 10))::text", .decimal, nil, name)
        case (.minimum, .integer), (.minimum, .date), (.minimum, .text):
            return ("min(\(column.sql))", attribute.type, attribute, name)
        case (.maximum, .integer), (.maximum, .date), (.maximum, .text):
            return ("max(\(column.sql))", attribute.type, attribute, name)
        case (.minimum, .decimal): return ("min(\(column.sql))::text", attribute.type, attribute, name)
        case (.maximum, .decimal): return ("max(\(column.sql))::text", attribute.type, attribute, name)
        default: throw FieldsealError(.queryDoesNotFit, "\(attribute.logicalName) can't be aggregated in this way.")
        }
    }
}
