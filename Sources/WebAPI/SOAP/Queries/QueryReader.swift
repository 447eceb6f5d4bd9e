import Foundation
import Model
import Records

/// Parses a `QueryExpression` or a `QueryByAttribute` as a query.
struct QueryReader {
    private(set) var query = RecordQuery()
    let entity: EntityDefinition
    /// The number of the page, from 1.
    private(set) var page = 1
    /// Identifies the query in its paging cookies.
    let mark: String
    /// The alias of each link, by the names that conditions may use for it: the alias itself, and the name of the linked entity.
    private var aliases: [String: String] = [:]
    private var links = 0
    private var conditions = 0

    private static let linkLimit = 15
    private static let conditionLimit = 500
    private static let depthLimit = 20

    init(_ element: XMLElement) throws(FieldsealError) {
        let isByAttribute = element.type?.local == "QueryByAttribute"
        let members = try isByAttribute ? Self.byAttribute(element) : Self.expression(element)
        guard let name = members.text("EntityName"), let entity = EntityCatalog.entity(name.lowercased()) else {
            throw FieldsealError(
                .queryDoesNotFit, "The query's EntityName is not an entity: \((members.text("EntityName") ?? "").quotedForFault).")
        }
        self.entity = entity
        mark = PagingCookie.mark(of: element)
        query.alias = entity.logicalName
        query.unknownAttributeCode = .noSuchAttribute
        aliases[entity.logicalName] = entity.logicalName
        let columns = try members["ColumnSet"].map { element throws(FieldsealError) in try ColumnSet(element) } ?? .empty
        columns.add(to: &query, of: entity)
        try readTop(members)
        if isByAttribute {
            try readPairs(members)
        } else {
            query.isDistinct = try members.bool("Distinct") ?? false
            for child in members["LinkEntities"]?.children ?? .empty { try add(child, to: entity) }
            if let criteria = members["Criteria"], let filter = try filter(criteria, nil, depth: 0) { add(filter) }
        }
        query.order = try orders(members["Orders"], nil) + query.order
        if query.outputs.isEmpty { query.outputs = [.init(.column(.init(entity.primaryID)))] }
    }

    private static func expression(_ element: XMLElement) throws(FieldsealError) -> ContractMembers {
        try ContractMembers(
            element, of: "QueryExpression",
            ["ColumnSet", "Criteria", "Distinct", "EntityName", "LinkEntities", "Orders", "PageInfo", "TopCount"],
            ignoring: ["NoLock", "ForceSeek", "QueryHints"])
    }

    private static func byAttribute(_ element: XMLElement) throws(FieldsealError) -> ContractMembers {
        try ContractMembers(
            element, of: "QueryByAttribute", ["Attributes", "ColumnSet", "EntityName", "Orders", "PageInfo", "TopCount", "Values"])
    }

    private mutating func add(_ filter: Filter) {
        query.filter = query.filter.and(filter)
    }

    // MARK: Pages and orders

    private mutating func readTop(_ members: ContractMembers) throws(FieldsealError) {
        query.top = try members.int("TopCount")
        if let top = query.top, !(1...RecordQuery.pageLimit).contains(top) {
            throw FieldsealError(.queryDoesNotFit, "TopCount takes 1 to \(RecordQuery.pageLimit).")
        }
        guard let element = members["PageInfo"] else { return }
        let info = try ContractMembers(
            element, of: "PagingInfo", ["Count", "PageNumber", "PagingCookie", "ReturnTotalRecordCount"])
        let count = try info.int("Count") ?? 0
        // The SDK sends 0 for a Count or a PageNumber that the program did not set.
        let number = try info.int("PageNumber") ?? 0
        guard (0...1_000_000).contains(count), (0...1_000_000).contains(number) else {
            throw FieldsealError(.queryDoesNotFit, "PageInfo takes a Count and a PageNumber of 0 to 1,000,000.")
        }
        page = max(1, number)
        guard query.top == nil || count == 0 && page == 1 else {
            throw FieldsealError(.queryDoesNotFit, "A query takes TopCount, or a page with PageInfo, and not both.")
        }
        query.pageSize = count == 0 ? RecordQuery.pageLimit : min(count, RecordQuery.pageLimit)
        query.countsRows = try info.bool("ReturnTotalRecordCount") ?? false
        if page > 1 { query.offset = (page - 1) * query.pageSize }
        if let cookie = info.text("PagingCookie"), !cookie.isEmpty {
            query.after = try PagingCookie.read(cookie, page: page, of: mark)
        }
    }

    private func orders(_ element: XMLElement?, _ link: String?) throws(FieldsealError) -> [RecordQuery.Order] {
        var orders: [RecordQuery.Order] = []
        for child in element?.children ?? .empty {
            let members = try ContractMembers(
                child, of: "OrderExpression", ["Alias", "AttributeName", "EntityName", "OrderType"])
            let type = members.text("OrderType") ?? "Ascending"
            guard type == "Ascending" || type == "Descending" else {
                throw members.mismatch("OrderType", "Ascending or Descending")
            }
            if let alias = members.text("Alias"), !alias.isEmpty {
                orders.append(.init(.output(alias), descending: type == "Descending"))
            } else {
                let alias = try members.text("EntityName").map { name throws(FieldsealError) in try self.alias(name) } ?? link
                let column = RecordQuery.Column(try members.required("AttributeName").text.lowercased(), alias: alias)
                orders.append(.init(.column(column), descending: type == "Descending"))
            }
        }
        guard orders.count <= 10 else { throw FieldsealError(.queryDoesNotFit, "A query takes at most 10 orders.") }
        return orders
    }

    private func alias(_ name: String) throws(FieldsealError) -> String {
        guard let alias = aliases[name.lowercased()] else {
            throw FieldsealError(.queryDoesNotFit, "Nothing in this query is called \(name.quotedForFault).")
        }
        return alias
    }

    // MARK: Conditions

    /// The conditions of a `QueryByAttribute`: each attribute equals its value.
    private mutating func readPairs(_ members: ContractMembers) throws(FieldsealError) {
        let attributes = members["Attributes"]?.children.map(\.text) ?? []
        let values = members["Values"]?.children.map(\.self) ?? []
        guard attributes.count == values.count, attributes.count <= Self.conditionLimit else {
            throw FieldsealError(.queryDoesNotFit, "A QueryByAttribute must have a value for each of its attributes.")
        }
        for (name, value) in zip(attributes, values) {
            let column = RecordQuery.Column(name.lowercased())
            let literals = try Self.literals([value], name)
            add(literals == [.null] ? .isNull(column) : try QueryOperator.filter("Equal", column, literals))
        }
    }

    private static func literals(_ elements: [XMLElement], _ name: String) throws(FieldsealError) -> [Literal] {
        var literals: [Literal] = []
        for element in elements {
            let value = try ContractValue(element, of: name)
            let values: [ContractValue] = if case .list(let list) = value { list } else { [value] }
            for value in values {
                guard let literal = value.literal else {
                    throw FieldsealError(.queryDoesNotFit, "\(name.quotedForFault) is not compared with \(value.kind).")
                }
                literals.append(literal)
            }
        }
        guard literals.count <= APILimits.valueCount else { throw Condition.tooManyValues }
        return literals
    }

    /// - Parameter link: The alias of the criteria's link; nil for the criteria of the query itself.
    /// - Returns: Nil for criteria without conditions.
    private mutating func filter(_ element: XMLElement, _ link: String?, depth: Int) throws(FieldsealError) -> Filter? {
        guard depth < Self.depthLimit else {
            throw FieldsealError(.queryDoesNotFit, "Criteria may be nested at most \(Self.depthLimit) levels deep.")
        }
        let members = try ContractMembers(
            element, of: "FilterExpression", ["Conditions", "FilterOperator", "Filters", "AnyAllFilterLinkEntity"],
            ignoring: ["FilterHint", "IsQuickFindFilter"])
        let kind = members.text("FilterOperator") ?? "And"
        guard kind == "And" || kind == "Or" else { throw members.mismatch("FilterOperator", "And or Or") }
        var parts: [Filter] = []
        for child in members["Conditions"]?.children ?? .empty { parts.append(try condition(child, link)) }
        for child in members["Filters"]?.children ?? .empty {
            if let inner = try filter(child, link, depth: depth + 1) { parts.append(inner) }
        }
        if let linked = members["AnyAllFilterLinkEntity"] {
            parts.append(try existence(linked, toAlias: link))
        }
        if parts.isEmpty { return nil }
        return kind == "Or" ? .any(parts) : .all(parts)
    }

    private mutating func condition(_ element: XMLElement, _ link: String?) throws(FieldsealError) -> Filter {
        conditions += 1
        guard conditions <= Self.conditionLimit else {
            throw FieldsealError(.queryDoesNotFit, "A query takes at most \(Self.conditionLimit) conditions.")
        }
        let members = try ContractMembers(
            element, of: "ConditionExpression", ["AttributeName", "CompareColumns", "EntityName", "Operator", "Values"])
        let name = try members.required("AttributeName").text
        let comparison = members.text("Operator") ?? "Equal"
        let alias = try members.text("EntityName").map { name throws(FieldsealError) in try self.alias(name) } ?? link
        let column = RecordQuery.Column(name.lowercased(), alias: alias)
        let values = try Self.literals(members["Values"]?.children.map(\.self) ?? [], name)
        guard try members.bool("CompareColumns") ?? false else { return try QueryOperator.filter(comparison, column, values) }
        guard values.count == 1, case .text(let other) = values[0],
            case .compare(_, let operation, _) = try QueryOperator.filter(comparison, column, values)
        else {
            throw FieldsealError(
                .queryDoesNotFit,
                "A condition with CompareColumns compares two columns: Values has one text, the other column's name, and the operator is Equal, "
                    + "NotEqual, GreaterThan, GreaterEqual, LessThan or LessEqual.")
        }
        let parts = other.split(separator: ".")
        let right =
            parts.count == 2
            ? RecordQuery.Column(parts[1].lowercased(), alias: try self.alias(String(parts[0])))
            : RecordQuery.Column(other.lowercased(), alias: alias)
        return .compareColumns(column, operation, right)
    }

    // MARK: Links

    /// The contents of a `LinkEntity`.
    private struct LinkParts {
        let entity: EntityDefinition
        let from: String
        let to: String
        let kind: String
        let alias: String?
        let members: ContractMembers
    }

    private mutating func parts(of element: XMLElement, from parent: EntityDefinition?) throws(FieldsealError) -> LinkParts {
        links += 1
        guard links <= Self.linkLimit else {
            throw FieldsealError(.queryDoesNotFit, "A query takes at most \(Self.linkLimit) links.")
        }
        let members = try ContractMembers(
            element, of: "LinkEntity",
            [
                "Columns", "EntityAlias", "JoinOperator", "LinkCriteria", "LinkEntities", "LinkFromAttributeName",
                "LinkFromEntityName", "LinkToAttributeName", "LinkToEntityName", "Orders",
            ], ignoring: ["ForceSeek"])
        guard let name = members.text("LinkToEntityName"), let entity = EntityCatalog.entity(name.lowercased()) else {
            throw FieldsealError(
                .queryDoesNotFit,
                "A link's LinkToEntityName is not an entity: \((members.text("LinkToEntityName") ?? "").quotedForFault).")
        }
        if let parent, let from = members.text("LinkFromEntityName"), !from.isEmpty, aliases[from.lowercased()] == nil,
            from.lowercased() != parent.logicalName
        {
            throw FieldsealError(.queryDoesNotFit, "A link's LinkFromEntityName differs from the entity that the link starts from.")
        }
        return LinkParts(
            entity: entity, from: try members.required("LinkToAttributeName").text.lowercased(),
            to: try members.required("LinkFromAttributeName").text.lowercased(), kind: members.text("JoinOperator") ?? "Inner",
            alias: try OutputName.checked(optional: members.text("EntityAlias"), "a LinkEntity"), members: members)
    }

    /// Adds a link of the query's own entity.
    private mutating func add(_ element: XMLElement, to parent: EntityDefinition) throws(FieldsealError) {
        if try Self.isJoin(element) {
            query.links.append(try joined(element, to: parent))
        } else {
            add(try existence(element, toAlias: nil))
        }
    }

    /// The join operator that returns one of several linked records.
    private static let firstRow = "MatchFirstRowUsingCrossApply"

    /// Whether a link may return columns. If not, the link only tests whether a linked record exists.
    ///
    /// - Throws: ``FieldsealError`` naming an unknown `JoinOperator`.
    private static func isJoin(_ element: XMLElement) throws(FieldsealError) -> Bool {
        guard let kind = element.first("JoinOperator"), !kind.isNil else { return true }
        switch kind.text {
        case "Inner", "LeftOuter", "Natural", firstRow: return true
        case "In", "Exists", "Any", "NotAny", "All", "NotAll": return false
        default:
            throw FieldsealError(.notImplemented, "A link with the JoinOperator \(kind.text.quotedForFault) is not supported.")
        }
    }

    private mutating func joined(_ element: XMLElement, to parent: EntityDefinition) throws(FieldsealError) -> RecordQuery.Link {
        let parts = try parts(of: element, from: parent)
        let alias = parts.alias ?? "\(parts.entity.logicalName)\(links)"
        guard aliases[alias.lowercased()] == nil else {
            throw FieldsealError(.queryDoesNotFit, "The alias \(alias.quotedForFault) is used twice. Give each link its own.")
        }
        aliases[alias.lowercased()] = alias
        if aliases[parts.entity.logicalName] == nil { aliases[parts.entity.logicalName] = alias }
        var link = RecordQuery.Link(
            parts.entity.logicalName, from: parts.from, to: parts.to, alias: alias, isOuter: parts.kind == "LeftOuter")
        link.isFirstOnly = parts.kind == Self.firstRow
        if let columns = parts.members["Columns"] { try ColumnSet(columns).add(to: &query, of: parts.entity, alias: alias) }
        for child in parts.members["LinkEntities"]?.children ?? .empty {
            if try Self.isJoin(child) {
                link.links.append(try joined(child, to: parts.entity))
            } else {
                let exists = try existence(child, toAlias: alias)
                link.filter = link.filter.and(exists)
            }
        }
        if let criteria = parts.members["LinkCriteria"], let filter = try filter(criteria, alias, depth: 0) {
            link.filter = link.filter.and(filter)
        }
        query.order += try orders(parts.members["Orders"], alias)
        return link
    }

    /// A link that only tests whether a linked record exists.
    private mutating func existence(_ element: XMLElement, toAlias: String?) throws(FieldsealError) -> Filter {
        _ = try Self.isJoin(element)
        let parts = try parts(of: element, from: nil)
        let columns = try parts.members["Columns"].map { element throws(FieldsealError) in try ColumnSet(element) }
        guard !(columns?.isAll ?? false), columns?.columns.isEmpty ?? true, columns?.expressions.isEmpty ?? true,
            !(parts.members["Orders"]?.hasChildren ?? false)
        else {
            throw FieldsealError(
                .queryDoesNotFit, "A link of this type only tests whether records exist, so it has no columns and no orders.")
        }
        let alias = parts.alias ?? "x\(links)"
        var link = RecordQuery.Link(parts.entity.logicalName, from: parts.from, to: parts.to, toAlias: toAlias, alias: alias)
        let outer = aliases
        aliases[alias.lowercased()] = alias
        if let criteria = parts.members["LinkCriteria"] { link.filter = try filter(criteria, nil, depth: 0) }
        for child in parts.members["LinkEntities"]?.children ?? .empty {
            let inner = try existence(child, toAlias: nil)
            link.filter = link.filter.and(inner)
        }
        aliases = outer
        switch parts.kind {
        case "In", "Exists", "Any", "Inner", "Natural", Self.firstRow: return try LinkCondition.any.filter(link)
        case "NotAny": return try LinkCondition.notAny.filter(link)
        case "All": return try LinkCondition.all.filter(link)
        case "NotAll": return try LinkCondition.notAll.filter(link)
        default:
            throw FieldsealError(
                .queryDoesNotFit,
                "A link below one that only must exist, and one in a filter, must exist too, or be absent: its JoinOperator is not "
                    + "\(parts.kind).")
        }
    }
}
