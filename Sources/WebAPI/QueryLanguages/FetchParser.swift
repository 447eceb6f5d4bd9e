import Foundation
import Model
import Records

/// Parses FetchXML (Dataverse's `fetch` element) to a query.
struct FetchParser {
    private(set) var query = RecordQuery()
    private(set) var entity: String
    /// The number of the page, from 1.
    private(set) var page = 1
    /// How many rows a page has.
    private(set) var count: Int?
    /// Identifies the query in its paging cookies.
    private(set) var mark = ""
    private(set) var returnsTotal = false
    private(set) var isAggregate = false
    private var aliases = 0
    private var allColumns = false
    /// Whether the entity itself has `no-attrs`. If the query has no other output, only the entity's ids are returned.
    private var isBare = false
    /// The sort orders of links. Rows are sorted by the entity's own sort orders first, even if the query names a link's order
    /// before them.
    private var linkOrder: [RecordQuery.Order] = []

    init(_ text: String) throws(FieldsealError) {
        let fetch = try XMLTree.parse(text)
        let entities = fetch.all("entity")
        guard fetch.name == "fetch", entities.count == 1, let entity = entities.first, let name = entity["name"] else {
            throw FieldsealError(.queryDoesNotFit, "FetchXML must begin with <fetch><entity name=\"…\">, and have one entity.")
        }
        try FetchNames.check(fetch)
        self.entity = name.lowercased()
        isAggregate = try fetch.flag("aggregate")
        query.isDistinct = try fetch.flag("distinct")
        returnsTotal = try fetch.flag("returntotalrecordcount")
        if fetch["useraworderby"] != nil, try !fetch.flag("useraworderby") {
            throw FieldsealError(.queryDoesNotFit, "useraworderby is true here: choices are sorted by their numbers. Leave it out.")
        }
        _ = try fetch.choice("mapping", ["logical"])
        if fetch["top"] != nil {
            for other in ["page", "count", "paging-cookie"] where fetch[other] != nil {
                throw FieldsealError(.queryDoesNotFit, "top and \(other) of <fetch> can't be used together.")
            }
        }
        query.countsRows = returnsTotal
        query.top = try Self.number(fetch["top"], "top", to: RecordQuery.pageLimit)
        // As in the SDK, 0 means no count.
        count = try Self.number(fetch["count"], "count").flatMap { $0 == 0 ? nil : $0 }
        page = try Self.number(fetch["page"], "page", from: 1) ?? 1
        query.pageSize = min(count ?? RecordQuery.pageLimit, RecordQuery.pageLimit)
        if page > 1 { query.offset = (page - 1) * query.pageSize }
        mark = PagingCookie.mark(of: fetch)
        if let cookie = fetch["paging-cookie"], !cookie.isEmpty {
            query.after = try PagingCookie.read(cookie, page: page, of: mark)
        }
        // A link within the entity refers to the entity by its name.
        query.alias = name.lowercased()
        try content(of: entity, alias: nil)
        query.order += linkOrder
        guard !isAggregate || !query.outputs.isEmpty && !allColumns else {
            throw FieldsealError(
                .queryDoesNotFit, "An aggregate query must name its attributes, each with an aggregate or groupby.")
        }
        if allColumns, let definition = EntityCatalog.entity(self.entity) {
            // A query without outputs returns all attributes of the entity. If links return attributes, the query has outputs, and
            // the entity's own attributes have to be among them. A distinct query compares its rows, and encrypted attributes and
            // pictures can't be compared.
            let isDistinct = query.isDistinct
            let all = definition.attributes.filter {
                ($0.validFor.contains(.read) || $0.isEncrypted) && !(isDistinct && ($0.isEncrypted || $0.type.isImage))
            }
            let others = query.outputs.filter { output in
                if case .column(let column) = output.value { column.alias != nil } else { true }
            }
            query.outputs = others.isEmpty ? [] : all.map { .init(.column(.init($0.logicalName))) } + others
        } else if isBare, query.outputs.isEmpty, let definition = EntityCatalog.entity(self.entity) {
            query.outputs = [.init(.column(.init(definition.primaryID)))]
        }
    }

    private static func number(
        _ text: String?, _ name: String, from lowest: Int = 0, to highest: Int = 1_000_000
    ) throws(FieldsealError) -> Int? {
        guard let text else { return nil }
        guard let number = Int(text), (lowest...highest).contains(number) else {
            throw FieldsealError(.queryDoesNotFit, "\(name) of <fetch> takes a number from \(lowest) to \(highest).")
        }
        return number
    }

    /// The alias that an element declares.
    private static func alias(of element: XMLTree) throws(FieldsealError) -> String? {
        guard let alias = element["alias"] else { return nil }
        guard alias.wholeMatch(of: /[A-Za-z_][A-Za-z0-9_]*/) != nil else {
            throw FieldsealError(
                .queryDoesNotFit, "alias of <\(element.name)> takes letters, digits and underscores, and begins with no digit.")
        }
        return alias
    }

    /// Parses attributes, filters, links and orders of an entity or a link.
    private mutating func content(of element: XMLTree, alias: String?) throws(FieldsealError) {
        for child in element.children {
            switch child.name {
            case "attribute": try attribute(child, alias)
            case "no-attrs": isBare = isBare || alias == nil
            case "all-attributes": allColumns = allColumns || alias == nil
            case "order": try order(child, alias)
            case "filter" where alias == nil:
                guard let filter = try filter(child, alias) else { continue }
                query.filter = query.filter.and(filter)
            case "link-entity" where alias == nil: try link(child)
            case "filter", "link-entity": continue
            default: throw FieldsealError(.queryDoesNotFit, "FetchXML has no element <\(child.name.prefix(50))> here.")
            }
        }
    }

    private mutating func attribute(_ element: XMLTree, _ alias: String?) throws(FieldsealError) {
        guard let name = element["name"] else { throw FieldsealError(.queryDoesNotFit, "<attribute> has no name.") }
        let column = RecordQuery.Column(name.lowercased(), alias: alias)
        try checkUses(of: element)
        let outputName = try Self.alias(of: element) ?? alias.map { "\($0).\(name.lowercased())" }
        if element["aggregate"] != nil, try element.flag("groupby") {
            throw FieldsealError(.queryDoesNotFit, "<attribute> has either aggregate or groupby, and not both.")
        }
        if let aggregate = element["aggregate"] {
            let known: [String: RecordQuery.Aggregate] = [
                "count": .count, "countcolumn": .countColumn, "sum": .sum, "avg": .average, "min": .minimum, "max": .maximum,
            ]
            guard var function = known[aggregate], isAggregate, outputName != nil else {
                throw FieldsealError(
                    .queryDoesNotFit, "An aggregate of <attribute> must be count, countcolumn, sum, avg, min or max, with an alias."
                )
            }
            if try element.flag("distinct") {
                guard function == .countColumn else {
                    throw FieldsealError(.queryDoesNotFit, "distinct of <attribute> needs the aggregate countcolumn.")
                }
                function = .countDistinct
            }
            query.outputs.append(.init(.aggregate(function, function == .count ? countable(column) : column), name: outputName))
        } else if try element.flag("groupby") {
            let part = element["dategrouping"].map { RecordQuery.DatePart(rawValue: $0) }
            if case .some(.none) = part {
                throw FieldsealError(
                    .queryDoesNotFit, "dategrouping must be day, week, month, quarter or year. Fiscal periods can't be grouped by.")
            }
            guard element["alias"] != nil else {
                throw FieldsealError(.queryDoesNotFit, "groupby of <attribute> needs an alias.")
            }
            query.groups.append(.init(column, part: part ?? nil))
            query.outputs.append(.init(part.flatMap { $0 }.map { .part($0, column) } ?? .column(column), name: outputName))
        } else {
            guard !isAggregate else {
                throw FieldsealError(
                    .queryDoesNotFit,
                    "Each <attribute> of an aggregate query must have an aggregate or groupby=\"true\", and an alias.")
            }
            query.outputs.append(.init(.column(column), name: outputName))
        }
    }

    /// Refuses an attribute of `<attribute>` that has no effect without another one, such as `dategrouping` without `groupby`.
    private func checkUses(of element: XMLTree) throws(FieldsealError) {
        let isGrouped = try element.flag("groupby")
        let needs: [(name: String, isMet: Bool, of: String)] = [
            ("aggregate", isAggregate, "<fetch aggregate=\"true\">"), ("groupby", isAggregate, "<fetch aggregate=\"true\">"),
            ("distinct", element["aggregate"] != nil, "an aggregate"), ("dategrouping", isGrouped, "groupby"),
            ("usertimezone", element["dategrouping"] != nil, "dategrouping"),
        ]
        for (name, isMet, other) in needs where element[name] != nil && !isMet && element[name] != "false" {
            throw FieldsealError(.queryDoesNotFit, "\(name) of <attribute> needs \(other).")
        }
        guard try !element.flag("usertimezone") else {
            throw FieldsealError(.queryDoesNotFit, "usertimezone is not supported: dates are grouped in UTC. Set it to false.")
        }
    }

    /// The column of the aggregate `count`; nil for the record's id, which every row has. Any other attribute must exist and be
    /// readable.
    private func countable(_ column: RecordQuery.Column) -> RecordQuery.Column? {
        guard let entity = EntityCatalog.entity(entity), column.alias == nil, column.name == entity.primaryID else { return column }
        return nil
    }

    private mutating func order(_ element: XMLTree, _ alias: String?) throws(FieldsealError) {
        let key: RecordQuery.Order.Key
        if let name = element["alias"] {
            key = .output(name)
        } else if let name = element["attribute"] {
            key = .column(.init(name.lowercased(), alias: element["entityname"] ?? alias))
        } else {
            throw FieldsealError(.queryDoesNotFit, "<order> has neither an attribute nor an alias.")
        }
        let order = RecordQuery.Order(key, descending: try element.flag("descending"))
        if alias == nil { query.order.append(order) } else { linkOrder.append(order) }
    }

    // MARK: Links

    private mutating func link(_ element: XMLTree) throws(FieldsealError) {
        let kind = element["link-type"]?.trimmed.lowercased() ?? "inner"
        switch kind {
        case "inner", "outer", Self.firstRow:
            query.links.append(try joined(element))
        case "exists", "in", "any":
            let filter = Filter.exists(try existing(element), negated: false)
            query.filter = query.filter.and(filter)
        default: throw FieldsealError(.queryDoesNotFit, "link-type must be inner, outer, exists, in, any or \(Self.firstRow).")
        }
    }

    private static let firstRow = "matchfirstrowusingcrossapply"

    private func ends(of element: XMLTree) throws(FieldsealError) -> (entity: EntityDefinition, from: String, to: String) {
        guard let name = element["name"], let entity = EntityCatalog.entity(name.lowercased()) else {
            throw FieldsealError(.queryDoesNotFit, "<link-entity> names no entity that is known.")
        }
        let from = element["from"]?.lowercased() ?? entity.primaryID
        return (entity, from, element["to"]?.lowercased() ?? from)
    }

    /// A link whose attributes may be returned, with the links below it.
    private mutating func joined(_ element: XMLTree) throws(FieldsealError) -> RecordQuery.Link {
        let (entity, from, to) = try ends(of: element)
        aliases += 1
        guard aliases <= 15 else { throw FieldsealError(.queryDoesNotFit, "FetchXML takes at most 15 links.") }
        let alias = try Self.alias(of: element) ?? "\(entity.logicalName)\(aliases)"
        var link = RecordQuery.Link(
            entity.logicalName, from: from, to: to, alias: alias, isOuter: element["link-type"]?.trimmed.lowercased() == "outer")
        link.isFirstOnly = element["link-type"]?.trimmed.lowercased() == Self.firstRow
        link.answersToEntity = element["alias"] == nil
        try addFilters(of: element, alias, to: &link)
        try content(of: element, alias: alias)
        if element.children.contains(where: { $0.name == "all-attributes" }) {
            for attribute in entity.attributes where attribute.validFor.contains(.read) {
                query.outputs.append(
                    .init(.column(.init(attribute.logicalName, alias: alias)), name: "\(alias).\(attribute.logicalName)"))
            }
        }
        for child in element.all("link-entity") {
            switch child["link-type"]?.trimmed.lowercased() ?? "inner" {
            case "inner", "outer", Self.firstRow: link.links.append(try joined(child))
            default:
                let exists = Filter.exists(try existing(child), negated: false)
                link.filter = link.filter.and(exists)
            }
        }
        return link
    }

    /// A link that only tests whether a linked record exists.
    private mutating func existing(_ element: XMLTree) throws(FieldsealError) -> RecordQuery.Link {
        let (entity, from, to) = try ends(of: element)
        let kinds = ["inner", "exists", "in", "any", "not any", "all", "not all", Self.firstRow]
        _ = try element.choice("link-type", kinds)
        guard !element.children.contains(where: { ["attribute", "all-attributes", "order"].contains($0.name) }) else {
            throw FieldsealError(
                .queryDoesNotFit, "A link of this type only tests whether records exist, so it returns no attributes.")
        }
        aliases += 1
        var link = RecordQuery.Link(entity.logicalName, from: from, to: to, alias: try Self.alias(of: element) ?? "x\(aliases)")
        try addFilters(of: element, nil, to: &link)
        for child in element.all("link-entity") {
            guard !(child["link-type"]?.contains { $0 == " " } ?? false), child["link-type"] != "all" else {
                throw FieldsealError(
                    .queryDoesNotFit, "A link of these types must be inside of a filter: any, not any, all, not all.")
            }
            let inner = Filter.exists(try existing(child), negated: false)
            link.filter = link.filter.and(inner)
        }
        return link
    }

    // MARK: Filters

    /// Adds the filters of an element to the filter of a link.
    private mutating func addFilters(of element: XMLTree, _ alias: String?, to link: inout RecordQuery.Link) throws(FieldsealError)
    {
        for child in element.all("filter") {
            guard let filter = try filter(child, alias) else { continue }
            link.filter = link.filter.and(filter)
        }
    }

    /// - Returns: Nil for a filter without conditions. In Dataverse such a filter has no effect, both with `and` and with `or`.
    private mutating func filter(_ element: XMLTree, _ alias: String?) throws(FieldsealError) -> Filter? {
        var parts: [Filter] = []
        for child in element.children {
            switch child.name {
            case "condition": parts.append(try condition(child, alias))
            case "filter": if let filter = try filter(child, alias) { parts.append(filter) }
            case "link-entity":
                guard let kind = LinkCondition(rawValue: child["link-type"]?.trimmed.lowercased() ?? "any") else {
                    throw FieldsealError(
                        .queryDoesNotFit, "The link-type of a link inside of a filter must be any, not any, all or not all.")
                }
                var link = try existing(child)
                link.toAlias = alias
                parts.append(try kind.filter(link))
            default: throw FieldsealError(.queryDoesNotFit, "A filter has no element <\(child.name.prefix(50))>.")
            }
        }
        let isAny = try element.choice("type", ["and", "or"]) == "or"
        guard !parts.isEmpty else { return nil }
        return isAny ? .any(parts) : .all(parts)
    }

    private func condition(_ element: XMLTree, _ alias: String?) throws(FieldsealError) -> Filter {
        guard let name = element["attribute"], let operation = element["operator"] else {
            throw FieldsealError(.queryDoesNotFit, "A <condition> lacks attribute or operator. Send both.")
        }
        let column = RecordQuery.Column(name.lowercased(), alias: element["entityname"] ?? alias)
        if let other = element["valueof"] {
            guard element["value"] == nil, element.children.isEmpty else {
                throw FieldsealError(.queryDoesNotFit, "A <condition> has both valueof and values. Send one of them.")
            }
            guard let comparison = Self.comparisons[operation] else {
                throw FieldsealError(.queryDoesNotFit, "The operator of a condition with valueof must be eq, ne, lt, le, gt or ge.")
            }
            let parts = other.split(separator: ".")
            let right =
                parts.count == 2
                ? RecordQuery.Column(parts[1].lowercased(), alias: String(parts[0])) : .init(other.lowercased(), alias: alias)
            return .compareColumns(column, comparison, right)
        }
        var values = element.all("value").map { Literal.text($0.text.trimmingCharacters(in: .whitespacesAndNewlines)) }
        if let value = element["value"] { values.insert(.text(value), at: 0) }
        guard values.count <= APILimits.valueCount else { throw Condition.tooManyValues }
        return try Self.filter(operation, column, values)
    }

    private static let comparisons: [String: Filter.Comparison] = [
        "eq": .equal, "ne": .notEqual, "neq": .notEqual, "lt": .less, "le": .lessOrEqual, "gt": .greater, "ge": .greaterOrEqual,
    ]

    private static func filter(_ operation: String, _ column: RecordQuery.Column, _ values: [Literal]) throws(FieldsealError)
        -> Filter
    {
        func text() throws(FieldsealError) -> String {
            guard values.count == 1, case .text(let text) = values[0] else {
                throw FieldsealError(.queryDoesNotFit, "The operator \(operation.prefix(30)) takes one value.")
            }
            return text
        }
        func like(_ pattern: TextPattern?) throws(FieldsealError) -> Filter {
            let filter = Filter.like(column, try QueryOperator.pattern(pattern))
            return operation.hasPrefix("not") ? .not(filter) : filter
        }
        if let comparison = comparisons[operation] { return .compare(column, comparison, .text(try text())) }
        switch operation {
        case "null", "not-null":
            guard values.isEmpty else { throw FieldsealError(.queryDoesNotFit, "The operator \(operation) takes no value.") }
            return operation == "null" ? .isNull(column) : .not(.isNull(column))
        case "like", "not-like": return try like(TextPattern.sql(try text()))
        case "begins-with", "not-begin-with": return try like(TextPattern.starts(with: try text()))
        case "ends-with", "not-end-with": return try like(TextPattern.ends(with: try text()))
        default: break
        }
        guard let filter = try Condition.filter(operation, column, values) else {
            throw FieldsealError(.queryDoesNotFit, "FetchXML has no operator '\(operation.prefix(50))' here.")
        }
        return filter
    }
}
