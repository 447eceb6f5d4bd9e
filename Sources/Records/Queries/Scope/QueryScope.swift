import Foundation
package import Model
import PostgresClient
import Tenancy

/// The tables of one SELECT, and the names of their columns.
///
/// Every name of every query is resolved here. This type adds the conditions that limit rows to those that the caller may read.
/// This type also refuses encrypted attributes, as three other places do (docs/architecture.md).
struct QueryScope {
    /// A table in a FROM clause.
    struct Table {
        let entity: EntityDefinition
        /// The table's alias in the statement, chosen by the service.
        let alias: String
        /// The alias that the client chose.
        let name: String?
        let traits: Traits
        /// The condition in SQL that the caller may read a row; nil if the caller may read every row.
        var restriction: String?

        /// How a table's rows and its name relate to those of the other tables.
        struct Traits: OptionSet {
            let rawValue: Int

            /// The table can return several rows for one row of an earlier table.
            static let multiplies = Traits(rawValue: 1)
            /// The entity's name refers to the table too.
            static let answersToEntity = Traits(rawValue: 2)
        }

        func sql(_ attribute: AttributeDefinition) -> String { "\(alias).\(attribute.column)" }
        var id: String { "\(alias).\(entity.idColumn)" }
    }

    /// How a table is joined.
    enum JoinKind {
        case inner, outer
        /// Joins only the row with the lowest id.
        case first
    }

    /// An attribute of a table.
    struct Resolved {
        let table: Table
        let attribute: AttributeDefinition
        /// The SQL that is read instead of the attribute's column: the name of another record.
        var expression: String?
        /// Whether the attribute is the owner's id, reached by a path through the owner. Users and teams have only this attribute
        /// in common.
        var isOwnersID = false

        var sql: String { expression ?? table.sql(attribute) }
        /// Whether the attribute is the record's id.
        var isID: Bool { attribute.column == table.entity.idColumn }
        /// The expression to sort by: texts regardless of case. The code that uses it counts each use with
        /// ``StatementBuilder/count(_:uses:)``.
        var sortable: String { attribute.type.isText ? "lower(\(sql))" : sql }
        /// The expression to compare: dates to the second, as clients read them. The code that uses it counts each use with
        /// ``StatementBuilder/count(_:uses:)``.
        var comparable: String { attribute.type.kind == .date ? "date_trunc('second', \(sql))" : sortable }
    }

    private(set) var tables: [Table]
    private(set) var from: String
    /// Conditions of the whole SELECT, which limit it to what the caller may read.
    private(set) var conditions: [String] = []
    private var paths: [String: Table] = [:]
    /// Tables of the enclosing SELECT, which aliases may refer to.
    private let outer: [Table]

    init(_ entity: EntityDefinition, name: String?, outer: [Table] = [], _ statement: inout StatementBuilder) throws(FieldsealError)
    {
        var table = Table(entity: entity, alias: try statement.nextTable(), name: name, traits: .multiplies)
        table.restriction = try statement.restriction(of: table)
        tables = [table]
        from = "\(statement.qualified(entity)) AS \(table.alias)"
        self.outer = outer
        if let own = table.restriction { conditions.append(own) }
    }

    var main: Table { tables[0] }

    /// Every table that a name may refer to.
    var visible: [Table] { outer + tables }

    /// Resolves the attribute that a client named.
    ///
    /// - Throws: ``FieldsealError``: the query's own code for an unknown attribute, `.queryDoesNotFit` for an encrypted one.
    mutating func resolve(_ column: RecordQuery.Column, _ statement: inout StatementBuilder) throws(FieldsealError) -> Resolved {
        let resolved = try resolveReadable(column, &statement)
        guard !resolved.attribute.isEncrypted else {
            throw FieldsealError(
                .queryDoesNotFit,
                "\(resolved.attribute.logicalName) is encrypted, and encrypted attributes can't be searched, sorted, grouped, "
                    + "aggregated or joined on.")
        }
        return resolved
    }

    /// Resolves an attribute to be returned. The attribute may be encrypted, because an encrypted attribute is always returned as
    /// null.
    mutating func resolveReadable(
        _ column: RecordQuery.Column,
        _ statement: inout StatementBuilder
    ) throws(FieldsealError) -> Resolved {
        var table = try self.table(named: column.alias)
        var path = table.alias
        for (place, step) in column.path.enumerated() {
            let relationships = table.entity.singleValued(all: step)
            guard let relationship = relationships.first else { throw Self.noStep(step, from: table.entity) }
            if relationships.count > 1 {
                // Users and teams have only the owner's id in common, and the record itself has this id.
                guard place == column.path.count - 1, column.name.lowercased() == relationship.attribute.logicalName else {
                    throw Self.ambiguous(step, of: table.entity)
                }
                guard !column.isText else { throw Self.mismatch(relationship.attribute, "a function of texts") }
                return Resolved(table: table, attribute: relationship.attribute, isOwnersID: true)
            }
            path += "/\(step.lowercased())"
            if let joined = paths[path] {
                table = joined
            } else {
                table = try join(
                    relationship.referenced, name: nil, .outer,
                    on: { [parent = table] in "\($0.id) = \(parent.sql(relationship.attribute))" }, &statement)
                paths[path] = table
            }
        }
        guard let attribute = table.entity.attribute(named: column.name),
            attribute.validFor.contains(.read) || attribute.isEncrypted
        else {
            throw FieldsealError(
                statement.unknownAttributeCode, "\(table.entity.logicalName) has no attribute \(column.name.quotedForMessage).")
        }
        guard !column.isText || attribute.type.isText else { throw Self.mismatch(attribute, "a function of texts") }
        var resolved = Resolved(table: table, attribute: attribute)
        if column.isName { resolved = statement.name(of: resolved) ?? resolved }
        if resolved.isGuarded { statement.noteGuardedUse() }
        return resolved
    }

    /// The refusal of a step that leads to no single record.
    private static func noStep(_ step: String, from entity: EntityDefinition) -> FieldsealError {
        let name = entity.logicalName
        guard entity.collectionValued(step) != nil || entity.association(step) != nil else {
            return FieldsealError(
                .queryDoesNotFit, "\(name) has no single-valued navigation property \(step.quotedForMessage).")
        }
        return FieldsealError(
            .queryDoesNotFit,
            "\(step) of \(name) is a collection: here it takes any and all. Counts of collections are not supported.")
    }

    /// The refusal of a path through an owner.
    private static func ambiguous(_ step: String, of entity: EntityDefinition) -> FieldsealError {
        let ways = ["owninguser", "owningteam"].compactMap { entity[$0] }.flatMap { entity.navigationProperties(of: $0) }
        return FieldsealError(
            .queryDoesNotFit,
            "\(step) is a user or a team, and \(step)/ownerid is all that a path through it reaches. Write "
                + "\(ways.map { "\($0)/…" }.joined(separator: " or ")).")
    }

    func table(named alias: String?) throws(FieldsealError) -> Table {
        guard let alias else { return main }
        let named = visible.last { $0.name?.lowercased() == alias.lowercased() }
        let ofEntity = visible.filter { $0.traits.contains(.answersToEntity) && $0.entity.logicalName == alias.lowercased() }
        guard let table = named ?? (ofEntity.count == 1 ? ofEntity.first : nil) else {
            throw FieldsealError(.queryDoesNotFit, "Nothing in this query is called \(alias.quotedForMessage).")
        }
        return table
    }

    /// Joins another entity's table. The join condition limits the table's rows to those that the caller may read.
    @discardableResult
    mutating func join(
        _ entity: EntityDefinition,
        name: String?,
        _ kind: JoinKind,
        _ traits: Table.Traits = [],
        on condition: (Table) -> String,
        filter: (inout QueryScope, inout StatementBuilder) throws(FieldsealError) -> [String] = { (_, _) in [] },
        _ statement: inout StatementBuilder
    ) throws(FieldsealError) -> Table {
        var table = Table(entity: entity, alias: try statement.nextTable(), name: name, traits: traits)
        table.restriction = try statement.restriction(of: table)
        tables.append(table)
        var on = [condition(table)]
        if let own = table.restriction { on.append(own) }
        on += try filter(&self, &statement)
        let condition = on.joined(separator: " AND ")
        let source = "\(statement.qualified(entity)) AS \(table.alias)"
        switch kind {
        case .inner: from += " JOIN \(source) ON \(condition)"
        case .outer: from += " LEFT JOIN \(source) ON \(condition)"
        case .first:
            let first = "SELECT \(table.alias).* FROM \(source) WHERE \(condition) ORDER BY \(table.id) LIMIT 1"
            from += " JOIN LATERAL (\(first)) AS \(table.alias) ON true"
        }
        return table
    }
}

extension EntityDefinition {
    /// The attribute with a logical name, or with a lookup's property name such as `_ownerid_value`.
    package func attribute(named name: String) -> AttributeDefinition? {
        let name = name.lowercased()
        if let attribute = self[name] { return attribute }
        guard name.hasPrefix("_"), name.hasSuffix("_value"), name.count > 7 else { return nil }
        return self[String(name.dropFirst().dropLast(6))].flatMap { $0.type.isReference ? $0 : nil }
    }
}

extension AttributeType {
    /// Whether values are texts, which are compared regardless of case.
    var isText: Bool {
        switch self {
        case .string, .memo, .entityName: true
        default: false
        }
    }

    /// Whether one value may be so long that each comparison with it takes noticeable time.
    var isLongText: Bool {
        switch self {
        case .string(let limit), .memo(let limit): limit > 10_000
        default: false
        }
    }
}
