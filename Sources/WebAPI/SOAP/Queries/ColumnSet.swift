import Model
import Records

/// The columns that a request selects.
struct ColumnSet {
    private(set) var isAll = false
    private(set) var columns: [String] = []
    /// The columns that are aggregated or grouped by.
    private(set) var expressions: [Expression] = []

    /// A column that is aggregated or grouped by.
    struct Expression {
        let attribute: String
        let alias: String?
        let aggregate: RecordQuery.Aggregate?
        let part: RecordQuery.DatePart?
        let isGroup: Bool
    }

    /// The set that selects only the record's id.
    static let empty = ColumnSet()

    private init() {}

    init(_ element: XMLElement) throws(FieldsealError) {
        let members = try ContractMembers(element, of: "ColumnSet", ["AllColumns", "Columns", "AttributeExpressions"])
        isAll = try members.bool("AllColumns") ?? false
        for child in members["Columns"]?.children ?? .empty where !child.isNil { columns.append(child.text.lowercased()) }
        for child in members["AttributeExpressions"]?.children ?? .empty { expressions.append(try Self.expression(child)) }
        guard columns.count <= 1_000, expressions.count <= 50 else {
            throw FieldsealError(.queryDoesNotFit, "A ColumnSet takes at most 1,000 columns, and 50 expressions.")
        }
    }

    private static func expression(_ element: XMLElement) throws(FieldsealError) -> Expression {
        let members = try ContractMembers(
            element, of: "XrmAttributeExpression", ["AggregateType", "Alias", "AttributeName", "DateTimeGrouping", "HasGroupBy"])
        let aggregates: [String: RecordQuery.Aggregate] = [
            "Count": .count, "CountColumn": .countColumn, "Sum": .sum, "Avg": .average, "Min": .minimum, "Max": .maximum,
        ]
        let aggregate = members.text("AggregateType") ?? "None"
        guard aggregate == "None" || aggregates[aggregate] != nil else {
            throw members.mismatch("AggregateType", "None, Count, CountColumn, Sum, Avg, Min or Max")
        }
        let grouping = members.text("DateTimeGrouping") ?? "None"
        let part = RecordQuery.DatePart(rawValue: grouping.lowercased())
        guard grouping == "None" || part != nil else {
            throw members.mismatch("DateTimeGrouping", "None, Day, Week, Month, Quarter or Year")
        }
        return Expression(
            attribute: try members.required("AttributeName").text.lowercased(),
            alias: try OutputName.checked(optional: members.text("Alias"), "an XrmAttributeExpression"),
            aggregate: aggregates[aggregate], part: part, isGroup: try members.bool("HasGroupBy") ?? false)
    }

    /// Adds the columns to a query.
    ///
    /// - Parameter alias: The alias of the columns' link; nil for the query's own entity.
    func add(to query: inout RecordQuery, of entity: EntityDefinition, alias: String? = nil) {
        let names = isAll ? ResultColumns.readable(entity) : columns
        for name in names {
            query.outputs.append(.init(.column(.init(name, alias: alias)), name: alias.map { "\($0).\(name)" }))
        }
        if isAll, alias == nil, entity.logicalName == EntityDefinition.email.logicalName {
            query.outputs += PartyLists.masks.map { .init(.column(.init($0.name))) }
        }
        for expression in expressions {
            let column = RecordQuery.Column(expression.attribute, alias: alias)
            let name = expression.alias ?? alias.map { "\($0).\(expression.attribute)" }
            if let aggregate = expression.aggregate {
                let isRows = aggregate == .count && expression.attribute == entity.primaryID
                query.outputs.append(.init(.aggregate(aggregate, isRows ? nil : column), name: name))
            } else {
                if expression.isGroup { query.groups.append(.init(column, part: expression.part)) }
                query.outputs.append(.init(expression.part.map { .part($0, column) } ?? .column(column), name: name))
            }
        }
    }

    /// Refuses columns that an entity does not have.
    func check(_ entity: EntityDefinition) throws(FieldsealError) {
        let isEmail = entity.logicalName == EntityDefinition.email.logicalName
        for name in columns where entity[name].map({ $0.validFor.contains(.read) || $0.isEncrypted }) != true {
            guard !isEmail || !PartyLists.masks.contains(where: { $0.name == name }) else { continue }
            throw FieldsealError(.noSuchAttribute, "\(entity.logicalName) has no attribute \(name.quotedForFault).")
        }
    }
}
