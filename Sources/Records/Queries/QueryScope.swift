import Foundation
public import Model
package import PostgresClient
package import Tenancy

/// The tables of one SELECT and the names by which its columns are reached.
///
/// Every name of every query is resolved here, and here alone it is decided that an encrypted attribute takes no part and how
/// far the caller may read.
struct QueryScope {
    /// A table in a FROM clause.
    struct Table {
        let entity: EntityDefinition
        /// Its name in the statement, which the service chose.
        let alias: String
        /// The client's own name for it.
        let name: String?
        /// Whether it can give several rows for one of the tables before it.
        let multiplies: Bool
        /// Whether it is also called by its entity's name.
        var answersToEntity = false

        func sql(_ attribute: AttributeDefinition) -> String { "\(alias).\(attribute.column)" }
        var id: String { "\(alias).\(entity.idColumn)" }
    }

    /// An attribute of a table.
    struct Resolved {
        let table: Table
        let attribute: AttributeDefinition

        var sql: String { table.sql(attribute) }
        /// Whether it is its record's id.
        var isID: Bool { attribute.logicalName == table.entity.primaryID }
        /// What is sorted by: texts without regard to case.
        var sortable: String { attribute.type.isText ? "lower(\(sql))" : sql }
        /// What is compared: dates as they are read, to the second.
        var comparable: String { attribute.type.kind == .date ? "date_trunc('second', \(sql))" : sortable }
    }

    private(set) var tables: [Table]
    private(set) var from: String
    /// Conditions that hold for the whole SELECT: what the caller may see.
    private(set) var conditions: [String] = []
    private var paths: [String: Table] = [:]
    /// Tables of the SELECT around this one, which may be named by their aliases.
    private let outer: [Table]

    init(_ entity: EntityDefinition, name: String?, outer: [Table] = [], _ statement: inout StatementBuilder) throws(FieldsealError)
    {
        let table = Table(entity: entity, alias: try statement.nextTable(), name: name, multiplies: true)
        tables = [table]
        from = "\(statement.qualified(entity)) AS \(table.alias)"
        self.outer = outer
        if let own = try statement.restriction(of: table) { conditions.append(own) }
    }

    var main: Table { tables[0] }

    /// Every table that a name may refer to.
    var visible: [Table] { outer + tables }

    /// The attribute that a client named.
    ///
    /// - Throws: ``FieldsealError``: the query's own code for one that is not there, `.queryDoesNotFit` for an encrypted one.
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

    /// The same, where an encrypted attribute may be named because nothing is read for it.
    mutating func resolveReadable(
        _ column: RecordQuery.Column,
        _ statement: inout StatementBuilder
    ) throws(FieldsealError) -> Resolved {
        var table = try self.table(named: column.alias)
        var path = table.alias
        for step in column.path {
            guard let relationship = table.entity.singleValued(step) else {
                throw FieldsealError(
                    .queryDoesNotFit,
                    "\(table.entity.logicalName) has no single-valued navigation property \(step.quotedForMessage).")
            }
            path += "/\(step.lowercased())"
            if let joined = paths[path] {
                table = joined
            } else {
                table = try join(
                    relationship.referenced, name: nil, isOuter: true, multiplies: false,
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
        return Resolved(table: table, attribute: attribute)
    }

    func table(named alias: String?) throws(FieldsealError) -> Table {
        guard let alias else { return main }
        let named = visible.last { $0.name?.lowercased() == alias.lowercased() }
        let ofEntity = visible.filter { $0.answersToEntity && $0.entity.logicalName == alias.lowercased() }
        guard let table = named ?? (ofEntity.count == 1 ? ofEntity.first : nil) else {
            throw FieldsealError(.queryDoesNotFit, "Nothing in this query is called \(alias.quotedForMessage).")
        }
        return table
    }

    /// Joins another entity's table, with what the caller may see of it as a part of the condition.
    @discardableResult
    mutating func join(
        _ entity: EntityDefinition,
        name: String?,
        isOuter: Bool,
        multiplies: Bool,
        isFirstOnly: Bool = false,
        answersToEntity: Bool = false,
        on condition: (Table) -> String,
        filter: (inout QueryScope, inout StatementBuilder) throws(FieldsealError) -> String? = { (_, _) in nil },
        _ statement: inout StatementBuilder
    ) throws(FieldsealError) -> Table {
        let table = Table(
            entity: entity, alias: try statement.nextTable(), name: name, multiplies: multiplies, answersToEntity: answersToEntity)
        tables.append(table)
        var on = [condition(table)]
        if let own = try statement.restriction(of: table) { on.append(own) }
        if let more = try filter(&self, &statement) { on.append(more) }
        let condition = on.joined(separator: " AND ")
        let source = "\(statement.qualified(entity)) AS \(table.alias)"
        if isFirstOnly {
            let first = "SELECT \(table.alias).* FROM \(source) WHERE \(condition) ORDER BY \(table.id) LIMIT 1"
            from += " JOIN LATERAL (\(first)) AS \(table.alias) ON true"
        } else {
            from += " \(isOuter ? "LEFT JOIN" : "JOIN") \(source) ON \(condition)"
        }
        return table
    }
}

/// The parameters of a statement that is being written, and for whom.
package struct StatementBuilder {
    let organization: Organization
    let caller: Caller
    let unknownAttributeCode: ErrorCode
    package private(set) var parameters: [PostgresParameter] = []
    private var tables = 0
    private var multiplyingJoins = 0
    private var keylessJoins = 0

    /// Tables of one statement, with those of its subqueries.
    static let tableLimit = 16
    /// Joins of one statement that may give several rows for one of the record before.
    static let multiplyingLimit = 4
    /// Joins of one statement in which neither side is a record's id: each may give the square of its rows.
    static let keylessLimit = 2

    package init(_ organization: Organization, _ caller: Caller, unknownAttributeCode: ErrorCode = .queryDoesNotFit) {
        self.organization = organization
        self.caller = caller
        self.unknownAttributeCode = unknownAttributeCode
    }

    /// Adds a parameter and returns its placeholder.
    package mutating func bind(_ parameter: PostgresParameter) -> String {
        parameters.append(parameter)
        return "$\(parameters.count)"
    }

    /// - Throws: ``FieldsealError`` when the statement has as many tables as it may.
    mutating func nextTable() throws(FieldsealError) -> String {
        guard tables < Self.tableLimit else {
            throw FieldsealError(
                .queryDoesNotFit, "A query may join at most \(Self.tableLimit) tables, with those of its subqueries.")
        }
        defer { tables += 1 }
        return "t\(tables)"
    }

    /// Counts a join.
    ///
    /// - Parameters:
    ///   - multiplies: Whether it may give several rows for one.
    ///   - hasKey: Whether either side is its record's id.
    /// - Throws: ``FieldsealError`` when the rows could become too many to count.
    mutating func countJoin(multiplies: Bool, hasKey: Bool) throws(FieldsealError) {
        multiplyingJoins += multiplies ? 1 : 0
        keylessJoins += hasKey ? 0 : 1
        guard multiplyingJoins <= Self.multiplyingLimit else {
            throw FieldsealError(
                .queryDoesNotFit,
                "A query may have at most \(Self.multiplyingLimit) joins that give several records for one. Split it.")
        }
        guard keylessJoins <= Self.keylessLimit else {
            throw FieldsealError(
                .queryDoesNotFit,
                "A query may have at most \(Self.keylessLimit) joins in which neither attribute is a record's id. Split it.")
        }
    }

    /// What rows of an entity are read from: its table, or for the roles of users also what clients and people were added with.
    func qualified(_ entity: EntityDefinition) -> String {
        entity === EntityDefinition.systemUserRoles ? organization.userRoles : organization.qualified(entity.logicalName)
    }

    /// The condition under which the caller may see the table's rows; nil for all of them.
    ///
    /// - Throws: ``FieldsealError`` `.privilegeDenied`.
    mutating func restriction(of table: QueryScope.Table) throws(FieldsealError) -> String? {
        let depth = try caller.require(.retrieveMultiple, on: table.entity)
        return AccessRule(table.entity, organization, caller).condition(depth, .read, table.alias) { bind($0) }
    }
}

extension EntityDefinition {
    /// The attribute of a logical name, or of a lookup's property name such as `_ownerid_value`.
    public func attribute(named name: String) -> AttributeDefinition? {
        let name = name.lowercased()
        if let attribute = self[name] { return attribute }
        guard name.hasPrefix("_"), name.hasSuffix("_value"), name.count > 7 else { return nil }
        return self[String(name.dropFirst().dropLast(6))].flatMap { $0.type.isReference ? $0 : nil }
    }
}

extension AttributeType {
    /// Whether values are texts, which are compared without regard to case.
    var isText: Bool {
        switch self {
        case .string, .memo, .entityName: true
        default: false
        }
    }
}
