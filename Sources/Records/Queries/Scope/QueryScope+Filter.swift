import Foundation
import Model
import PostgresClient
import Tenancy

extension QueryScope {
    /// The condition in SQL. Every literal becomes a parameter.
    ///
    /// - Throws: ``FieldsealError`` naming the attribute that is unknown, encrypted, or of another type than its literal.
    mutating func condition(_ filter: Filter, _ statement: inout StatementBuilder) throws(FieldsealError) -> String {
        switch filter {
        case .constant(let value): return value ? "true" : "false"
        case .all(let parts): return try joined(parts, " AND ", empty: "true", &statement)
        case .any(let parts): return try joined(parts, " OR ", empty: "false", &statement)
        case .not(let inner, let isThreeValued):
            let condition = try condition(inner, &statement)
            return isThreeValued ? "(NOT (\(condition)))" : "((\(condition)) IS NOT TRUE)"
        case .isNull(let column): return "\(try resolve(column, &statement).sql) IS NULL"
        case .compare(let column, let comparison, let literal):
            return try compare(try resolve(column, &statement), comparison, literal, &statement)
        case .compareColumns(let left, let comparison, let right):
            let left = try resolve(left, &statement)
            let right = try resolve(right, &statement)
            guard left.attribute.type.kind == right.attribute.type.kind else {
                throw Self.mismatch(left.attribute, "the value of \(right.attribute.logicalName)")
            }
            try statement.count(left)
            try statement.count(right)
            return "\(left.comparable) \(comparison.rawValue) \(right.comparable)"
        case .isIn(let column, let literals):
            return try isIn(try resolve(column, &statement), literals, &statement)
        case .like(let column, let pattern):
            let column = try resolve(column, &statement)
            guard column.attribute.type.isText else { throw Self.mismatch(column.attribute, "a pattern") }
            guard !pattern.pattern.utf8.contains(0) else {
                throw FieldsealError(.queryDoesNotFit, "\(column.attribute.logicalName) can't hold the character U+0000.")
            }
            try statement.count(pattern, for: column)
            if pattern.isRegularExpression || column.attribute.type.isLongText {
                return "\(column.comparable) ~ lower(\(statement.bind(.text(pattern.regularExpression))))"
            }
            return "\(column.comparable) LIKE lower(\(statement.bind(.text(pattern.pattern))))"
        case .within(let column, let from, let to):
            let column = try resolve(column, &statement)
            guard case .dateTime = column.attribute.type else { throw Self.mismatch(column.attribute, "a range of dates") }
            var parts: [String] = []
            if let from { parts.append("\(column.sql) >= \(statement.bind(.timestamp(from)))") }
            if let to { parts.append("\(column.sql) < \(statement.bind(.timestamp(to)))") }
            return parts.isEmpty ? "\(column.sql) IS NOT NULL" : "(\(parts.joined(separator: " AND ")))"
        case .fiscal(let column, let condition):
            let column = try resolve(column, &statement)
            guard case .dateTime = column.attribute.type else { throw Self.mismatch(column.attribute, "a fiscal year or period") }
            return fiscal(column, condition, &statement)
        case .hierarchy(let column, let place, let literal):
            statement.noteGuardedUse()
            return try hierarchy(try resolve(column, &statement), place, literal, &statement)
        case .isCallers(let column, let own):
            if own != .user { statement.noteGuardedUse() }
            return try isCallers(try resolve(column, &statement), own, &statement)
        case .exists(let link, let negated): return try exists(link, negated, &statement)
        case .lambda(let collection, let variable, let inner, let isAll):
            return try lambda(collection, variable, inner, isAll, &statement)
        }
    }

    private mutating func joined(
        _ parts: [Filter],
        _ separator: String,
        empty: String,
        _ statement: inout StatementBuilder
    ) throws(FieldsealError) -> String {
        var conditions: [String] = []
        for part in parts { conditions.append(try condition(part, &statement)) }
        return switch conditions.count {
        case 0: empty
        case 1: conditions[0]
        default: "(\(conditions.joined(separator: separator)))"
        }
    }

    private func compare(
        _ column: Resolved,
        _ comparison: Filter.Comparison,
        _ literal: Literal,
        _ statement: inout StatementBuilder
    ) throws(FieldsealError) -> String {
        if literal == .null {
            switch comparison {
            case .equal: return "\(column.sql) IS NULL"
            case .notEqual, .differs: return "\(column.sql) IS NOT NULL"
            default: return "false"
            }
        }
        let value = try column.attribute.type.value(of: literal, for: column.attribute)
        if case .date(let date) = value { return compare(column, comparison, date, &statement) }
        try statement.count(column)
        return "\(column.comparable) \(comparison.rawValue) \(statement.bind(value, column.attribute.type))"
    }

    /// Compares whole seconds, because clients read dates without fractions. The conditions are ranges of the column itself, so
    /// that an index can be used.
    private func compare(
        _ column: Resolved,
        _ comparison: Filter.Comparison,
        _ date: Date,
        _ statement: inout StatementBuilder
    ) -> String {
        let seconds = date.timeIntervalSince1970
        // The first second at or after the date, and the first second after it. These two differ only if the date is a whole
        // second.
        let from = statement.bind(.timestamp(Date(timeIntervalSince1970: seconds.rounded(.up))))
        let to = statement.bind(.timestamp(Date(timeIntervalSince1970: seconds.rounded(.down) + 1)))
        let isEqual = "(\(column.sql) >= \(from) AND \(column.sql) < \(to))"
        return switch comparison {
        case .equal: isEqual
        case .notEqual: "(\(isEqual) IS NOT TRUE)"
        case .differs: "(NOT \(isEqual))"
        case .less: "\(column.sql) < \(from)"
        case .lessOrEqual: "\(column.sql) < \(to)"
        case .greater: "\(column.sql) >= \(to)"
        case .greaterOrEqual: "\(column.sql) >= \(from)"
        }
    }

    private func isIn(
        _ column: Resolved,
        _ literals: [Literal],
        _ statement: inout StatementBuilder
    ) throws(FieldsealError) -> String {
        var values: [AttributeValue] = []
        for literal in literals where literal != .null {
            values.append(try column.attribute.type.value(of: literal, for: column.attribute))
        }
        let hasNull = values.count < literals.count
        let elements: String
        switch column.attribute.type.kind {
        case .id: elements = statement.bind(.uuids(values.compactMap { if case .id(let id) = $0 { id } else { nil } }))
        case .text: elements = "ARRAY(SELECT lower(v) FROM unnest(\(statement.bind(.texts(values.map(\.plainText))))) AS v)"
        case .date:
            let seconds = values.compactMap { if case .date(let date) = $0 { String(date.timeIntervalSince1970) } else { nil } }
            elements = "ARRAY(SELECT to_timestamp(v::float8) FROM unnest(\(statement.bind(.texts(seconds)))) AS v)"
        case let type: elements = "\(statement.bind(.texts(values.map(\.plainText))))::\(type.rawValue)[]"
        }
        try statement.count(column)
        let condition = "\(column.comparable) = ANY (\(elements))"
        return hasNull ? "(\(condition) OR \(column.sql) IS NULL)" : condition
    }

    private func isCallers(
        _ column: Resolved,
        _ own: Filter.CallersOwn,
        _ statement: inout StatementBuilder
    ) throws(FieldsealError) -> String {
        guard column.attribute.type.kind == .id else { throw Self.mismatch(column.attribute, "a reference to the caller") }
        let user = statement.bind(.uuid(statement.caller.systemUserID))
        switch own {
        case .user: return "\(column.sql) = \(user)"
        case .businessUnit:
            let users = statement.organization.qualified(EntityDefinition.systemUser.logicalName)
            return "\(column.sql) = (SELECT u.businessunitid FROM \(users) AS u WHERE u.systemuserid = \(user))"
        case .teams, .userOrTeams:
            let memberships = statement.organization.qualified("teammembership")
            let isTeam = "\(column.sql) IN (SELECT m.teamid FROM \(memberships) AS m WHERE m.systemuserid = \(user))"
            return own == .teams ? isTeam : "(\(column.sql) = \(user) OR \(isTeam))"
        }
    }

    private func fiscal(_ column: Resolved, _ condition: FiscalCondition, _ statement: inout StatementBuilder) -> String {
        var arguments = [condition.count, condition.period, condition.year].map { statement.bind(.int32(Int32(clamping: $0))) }
        let kind = statement.bind(.text(condition.kind))
        // The organization's settings determine how many periods a year has. A period number after the last one means the
        // moment between the last period and the next year.
        let (period, year, last) = (arguments[1], arguments[2], statement.organization.qualified("fiscal_period_count") + "()")
        switch condition.kind {
        case "until": arguments[1] = "least(\(period), \(last))"
        case "from":
            arguments[1] = "CASE WHEN \(period) > \(last) THEN 1 ELSE \(period) END"
            arguments[2] = "\(year) + (\(period) > \(last))::integer"
        default: break
        }
        // The ranges are an array from a subquery, so that PostgreSQL computes them once for the whole query.
        let ranges = "\(statement.organization.qualified("fiscal_ranges"))(\(kind), \(arguments.joined(separator: ", ")))"
        return "(\(column.sql) <@ ANY (ARRAY(SELECT tstzrange(f.starts, f.ends) FROM \(ranges) AS f)))"
    }

    private func hierarchy(
        _ column: Resolved, _ place: Filter.HierarchyPlace, _ literal: Literal, _ statement: inout StatementBuilder
    ) throws(FieldsealError) -> String {
        let entity = column.table.entity
        guard column.isID, let parent = entity.parentAttribute else {
            throw FieldsealError(
                .queryDoesNotFit, "\(column.attribute.logicalName) of \(entity.logicalName) is in no hierarchy; businessunitid is.")
        }
        let id = statement.bind(try column.attribute.type.value(of: literal, for: column.attribute), column.attribute.type)
        let (own, above) = (entity.idColumn, quoteIdentifier(parent))
        let table = statement.qualified(entity)
        let isDown = place == .under || place == .atOrUnder
        let step = isDown ? "n.\(above) = h.id" : "n.\(own) = h.parent"
        let first = place == .atOrAbove || place == .atOrUnder ? "" : " WHERE h.id <> \(id)"
        return """
            \(column.sql) IN (WITH RECURSIVE h (id, parent) AS (
                SELECT n.\(own), n.\(above) FROM \(table) AS n WHERE n.\(own) = \(id)
                UNION SELECT n.\(own), n.\(above) FROM \(table) AS n JOIN h ON \(step))
            SELECT h.id FROM h\(first))
            """
    }

    private mutating func exists(
        _ link: RecordQuery.Link,
        _ negated: Bool,
        _ statement: inout StatementBuilder
    ) throws(FieldsealError) -> String {
        guard let entity = EntityCatalog.entity(link.entity) else { throw Self.unknown(entity: link.entity) }
        let to = try resolve(RecordQuery.Column(link.to, alias: link.toAlias), &statement)
        var inner = try QueryScope(entity, name: link.alias, outer: visible, &statement)
        let from = try inner.resolve(RecordQuery.Column(link.from), &statement)
        try statement.countJoin(from.isID || to.isID ? [] : .keyless)
        try statement.count(from)
        try statement.count(to)
        for nested in link.links { try inner.add(nested, &statement) }
        statement.noteGuardedUse()
        var conditions = ["\(from.joinable(from.sql)) = \(to.sql)"]
        if let filter = link.filter { conditions += try inner.guardedConditions(filter, &statement) }
        return (negated ? "NOT " : "") + inner.subquery(conditions)
    }

    private mutating func lambda(
        _ collection: Filter.Collection,
        _ variable: String,
        _ filter: Filter?,
        _ isAll: Bool,
        _ statement: inout StatementBuilder
    ) throws(FieldsealError) -> String {
        // Finds the table at the end of the path by resolving its id.
        let property = collection.property
        let id = try idAttribute(at: collection)
        let table = try resolve(.init(id, path: collection.path, alias: collection.alias), &statement).table
        if let association = table.entity.association(property) {
            return try lambda(over: association, of: table, variable, filter, isAll, &statement)
        }
        guard let relationship = table.entity.collectionValued(property) else {
            throw FieldsealError(
                .queryDoesNotFit,
                "\(table.entity.logicalName) has no collection-valued navigation property \(property.quotedForMessage).")
        }
        var inner = try QueryScope(relationship.referencing, name: variable, outer: visible, &statement)
        var conditions = ["\(inner.main.sql(relationship.attribute)) = \(table.id)"]
        statement.noteGuardedUse()
        if let filter { conditions += try inner.lambdaConditions(filter, isAll, &statement) }
        return (isAll ? "NOT " : "") + inner.subquery(conditions)
    }

    private func idAttribute(at collection: Filter.Collection) throws(FieldsealError) -> String {
        var entity = try table(named: collection.alias).entity
        for step in collection.path {
            guard let relationship = entity.singleValued(step) else {
                throw FieldsealError(
                    .queryDoesNotFit,
                    "\(entity.logicalName) has no single-valued navigation property \(step.quotedForMessage).")
            }
            entity = relationship.referenced
        }
        return entity.primaryID
    }

    /// The conditions for the rows of a collection that `any` looks for. For `all`, these are the rows that do not fulfil the filter.
    mutating func lambdaConditions(_ filter: Filter, _ isAll: Bool, _ statement: inout StatementBuilder) throws(FieldsealError)
        -> [String]
    {
        guard isAll else { return try guardedConditions(filter, &statement) }
        return [guarded("((\(try condition(filter, &statement))) IS NOT TRUE)")]
    }

    func subquery(_ more: [String]) -> String {
        "EXISTS (SELECT FROM \(from) WHERE \((conditions + more).joined(separator: " AND ")))"
    }

    /// Joins a link and the links below it.
    mutating func add(_ link: RecordQuery.Link, _ statement: inout StatementBuilder) throws(FieldsealError) {
        guard let entity = EntityCatalog.entity(link.entity) else { throw Self.unknown(entity: link.entity) }
        guard !visible.contains(where: { $0.name != nil && $0.name?.lowercased() == link.alias?.lowercased() }) else {
            throw FieldsealError(
                .queryDoesNotFit, "The alias \((link.alias ?? "").quotedForMessage) is used twice. Give each link its own.")
        }
        let to = try resolve(RecordQuery.Column(link.to, alias: link.toAlias), &statement)
        guard let from = entity.attribute(named: link.from), from.validFor.contains(.read) else {
            throw FieldsealError(
                statement.unknownAttributeCode, "\(entity.logicalName) has no attribute \(link.from.quotedForMessage).")
        }
        guard !from.isEncrypted else {
            throw FieldsealError(.queryDoesNotFit, "\(from.logicalName) is encrypted, and can't be joined on.")
        }
        guard from.type.kind == to.attribute.type.kind else {
            throw Self.mismatch(from, "the value of \(to.attribute.logicalName)")
        }
        try statement.count(to)
        try statement.count(Resolved(table: to.table, attribute: from))
        let isID = from.logicalName == entity.primaryID
        var cost: StatementBuilder.JoinCost = isID || to.isID ? [] : .keyless
        if !isID, !link.isFirstOnly { cost.insert(.multiplies) }
        try statement.countJoin(cost)
        var traits: Table.Traits = link.isFirstOnly ? [] : .multiplies
        if link.answersToEntity { traits.insert(.answersToEntity) }
        try join(
            entity, name: link.alias, link.isFirstOnly ? .first : link.isOuter ? .outer : .inner, traits,
            on: { table in
                let from = Resolved(table: table, attribute: from)
                return "\(from.joinable(from.comparable)) = \(to.joinable(to.comparable))"
            },
            filter: { (scope, statement) throws(FieldsealError) in
                guard let filter = link.filter else { return [] }
                return try scope.guardedConditions(filter.named(link.alias), &statement)
            }, &statement)
        for nested in link.links {
            var nested = nested
            nested.toAlias = nested.toAlias ?? link.alias
            try add(nested, &statement)
        }
    }

    static func unknown(entity name: String) -> FieldsealError {
        FieldsealError(.queryDoesNotFit, "There is no entity \(name.quotedForMessage).")
    }

    static func mismatch(_ attribute: AttributeDefinition, _ what: String) -> FieldsealError {
        FieldsealError(.queryDoesNotFit, "\(attribute.logicalName) can't be compared with \(what).")
    }
}

extension Filter {
    /// The same condition, with an alias for the columns that have no alias yet.
    fileprivate func named(_ alias: String?) -> Filter {
        func column(_ column: RecordQuery.Column) -> RecordQuery.Column {
            var column = column
            column.alias = column.alias ?? alias
            return column
        }
        return switch self {
        case .all(let parts): .all(parts.map { $0.named(alias) })
        case .any(let parts): .any(parts.map { $0.named(alias) })
        case .not(let inner, let isThreeValued): .not(inner.named(alias), isThreeValued: isThreeValued)
        case .compare(let left, let comparison, let literal): .compare(column(left), comparison, literal)
        case .compareColumns(let left, let comparison, let right): .compareColumns(column(left), comparison, column(right))
        case .isNull(let name): .isNull(column(name))
        case .isIn(let name, let literals): .isIn(column(name), literals)
        case .like(let name, let pattern): .like(column(name), pattern)
        case .within(let name, let from, let to): .within(column(name), from, to)
        case .isCallers(let name, let own): .isCallers(column(name), own)
        case .fiscal(let name, let condition): .fiscal(column(name), condition)
        case .hierarchy(let name, let place, let literal): .hierarchy(column(name), place, literal)
        case .exists(var link, let negated):
            {
                link.toAlias = link.toAlias ?? alias
                return .exists(link, negated: negated)
            }()
        case .lambda, .constant: self
        }
    }
}
