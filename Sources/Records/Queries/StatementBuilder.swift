import Foundation
package import Model
package import PostgresClient
package import Tenancy

/// The parameters of a statement, the organization and the caller.
package struct StatementBuilder {
    let organization: Organization
    let caller: Caller
    let unknownAttributeCode: ErrorCode
    package private(set) var parameters: [PostgresParameter] = []
    private var tables = 0
    private var multiplyingJoins = 0
    private var keylessJoins = 0
    private var longTextUses = 0
    private var patternLength = 0
    /// How many uses of texts and subqueries the conditions have so far. Each condition with one is guarded.
    private(set) var guardedUses = 0

    /// How many tables one statement has at most, including those of subqueries.
    static let tableLimit = 16
    /// How many joins of one statement may return several rows for one row of an earlier table.
    static let multiplyingLimit = 4
    /// How many joins of one statement may have no record's id on either side. Each of these joins may square the number of rows.
    static let keylessLimit = 2
    /// How often one statement may compare, sort by, group by or aggregate a long text. Each use takes up to half a second for
    /// one row, and the statement's time limit does not interrupt a row.
    static let longTextLimit = 10
    /// How many characters a pattern for a long text has at most.
    static let longTextPatternLimit = 1_000
    /// How many bytes all patterns of one statement have at most.
    static let patternLimit = 64 << 10

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

    /// - Throws: ``FieldsealError`` when the statement has the maximum number of tables.
    mutating func nextTable() throws(FieldsealError) -> String {
        guard tables < Self.tableLimit else {
            throw FieldsealError(
                .queryDoesNotFit, "A query may join at most \(Self.tableLimit) tables, with those of its subqueries.")
        }
        defer { tables += 1 }
        return "t\(tables)"
    }

    /// What makes a join expensive.
    struct JoinCost: OptionSet {
        let rawValue: Int

        /// The join may return several rows for one row of an earlier table.
        static let multiplies = JoinCost(rawValue: 1)
        /// Neither side of the join is the id of its record.
        static let keyless = JoinCost(rawValue: 2)
    }

    /// Counts a join.
    ///
    /// - Throws: ``FieldsealError`` when the statement has too many joins of this cost.
    mutating func countJoin(_ cost: JoinCost) throws(FieldsealError) {
        multiplyingJoins += cost.contains(.multiplies) ? 1 : 0
        keylessJoins += cost.contains(.keyless) ? 1 : 0
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

    /// Notes that a condition compares a text, or has a subquery.
    mutating func noteGuardedUse() { guardedUses += 1 }

    /// Counts how often a query uses long texts. Uses of other attributes are not counted.
    ///
    /// - Throws: ``FieldsealError`` when the query uses long texts too often.
    mutating func count(_ column: QueryScope.Resolved, uses: Int = 1) throws(FieldsealError) {
        guard column.attribute.type.isLongText else { return }
        longTextUses += uses
        guard longTextUses <= Self.longTextLimit else {
            throw FieldsealError(
                .queryDoesNotFit,
                "A query may use long texts \(Self.longTextLimit) times in conditions, orders, groups and aggregates, and this one "
                    + "uses \(column.attribute.logicalName) and others more often.")
        }
    }

    /// Counts a pattern for an attribute's value.
    ///
    /// - Throws: ``FieldsealError`` when the pattern is too long, or all patterns of the statement together are.
    mutating func count(_ pattern: TextPattern, for column: QueryScope.Resolved) throws(FieldsealError) {
        try count(column)
        patternLength += pattern.pattern.utf8.count
        guard patternLength <= Self.patternLimit else {
            throw FieldsealError(
                .queryDoesNotFit, "The patterns of a query may have \(Self.patternLimit >> 10) KiB in all, and these have more.")
        }
        guard !column.attribute.type.isLongText || pattern.pattern.unicodeScalars.count <= Self.longTextPatternLimit else {
            throw FieldsealError(
                .queryDoesNotFit,
                "A pattern for \(column.attribute.logicalName) may have \(Self.longTextPatternLimit) characters, and this one has more."
            )
        }
    }

    /// The source of an entity's rows: its table. For the roles of users, the source is a subquery that adds the roles of clients
    /// and of console users.
    func qualified(_ entity: EntityDefinition) -> String {
        entity === EntityDefinition.systemUserRoles ? organization.userRoles : organization.qualified(entity.logicalName)
    }

    /// The condition that limits the table's rows to those that the caller may read; nil if the caller may read all rows.
    ///
    /// - Throws: ``FieldsealError`` `.privilegeDenied`.
    mutating func restriction(of table: QueryScope.Table) throws(FieldsealError) -> String? {
        let depth = try caller.require(.retrieveMultiple, on: table.entity)
        return AccessRule(table.entity, organization, caller).condition(depth, .read, table.alias) { bind($0) }
    }

    /// The name of the record that a lookup refers to. If the entity has an attribute for this name, the name is read there;
    /// otherwise it is read from the record that the lookup refers to.
    ///
    /// - Returns: Nil for attributes that are not lookups, and for lookups of entities that this service does not have or that have
    ///   no names.
    func name(of lookup: QueryScope.Resolved) -> QueryScope.Resolved? {
        guard lookup.attribute.type.isReference else { return nil }
        if let stored = lookup.table.entity["\(lookup.attribute.logicalName)name"] {
            return .init(table: lookup.table, attribute: stored)
        }
        let named = lookup.attribute.namedTargets
        guard let attribute = named.first?.name else { return nil }
        let names = named.map { target, name in
            "(SELECT n.\(name.column) FROM \(qualified(target)) AS n WHERE n.\(target.idColumn) = \(lookup.sql))"
        }
        return .init(
            table: lookup.table, attribute: attribute,
            expression: names.count == 1 ? names[0] : "coalesce(\(names.joined(separator: ", ")))")
    }
}

extension AttributeDefinition {
    /// The entities that a lookup refers to, each with the attribute that is its records' name.
    var namedTargets: [(target: EntityDefinition, name: AttributeDefinition)] {
        knownTargets.compactMap { target in
            guard let entity = EntityCatalog.entity(target), let name = entity.primaryName.flatMap({ entity[$0] }) else {
                return nil
            }
            return (entity, name)
        }
    }

    /// Whether the name for a lookup is read from the record that it refers to, because no attribute stores it. As in
    /// Dataverse, `owninguser` and `owningteam` have no name, because `ownerid` has it.
    package func isNamedByRecord(in entity: EntityDefinition) -> Bool {
        type.isReference && entity["\(logicalName)name"] == nil && !namedTargets.isEmpty
            && !["owninguser", "owningteam"].contains(logicalName)
    }
}
