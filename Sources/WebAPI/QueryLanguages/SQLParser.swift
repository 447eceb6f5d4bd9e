import Foundation
import Model
import Records

/// Parses the subset of SQL that `?sql=` accepts: one SELECT, which becomes a ``RecordQuery``.
struct SQLParser {
    private var lexer: SQLLexer
    private var query = RecordQuery()
    private var depth = 0
    /// The entity of each table alias.
    private var tables: [(alias: String, entity: EntityDefinition)] = []
    /// The columns that are named without a table.
    private var bare: [String] = []

    static func parse(_ text: String) throws(FieldsealError) -> (entity: String, query: RecordQuery) {
        var parser = SQLParser(lexer: try SQLLexer(text))
        return try parser.select()
    }

    private init(lexer: SQLLexer) {
        self.lexer = lexer
    }

    private struct Item {
        var value: RecordQuery.Output.Value
        var name: String?
    }

    private mutating func select() throws(FieldsealError) -> (String, RecordQuery) {
        try lexer.require("select")
        query.sortsLookupsByName = false
        query.isDistinct = try lexer.take("distinct")
        if try lexer.take("top") {
            let inParentheses = try lexer.take("(")
            query.top = try lexer.requireNumber()
            if inParentheses { try lexer.require(")") }
            guard lexer.word != "percent" else {
                throw FieldsealError(.queryDoesNotFit, "TOP takes a number of rows. PERCENT is not supported.")
            }
        }
        var items: [Item] = []
        repeat { items.append(try item()) } while try lexer.take(",")
        try lexer.require("from")
        let entity = try table()
        query.alias = tables[0].alias
        while try join() {}
        if try lexer.take("where") { query.filter = try or() }
        if try lexer.take("group") {
            try lexer.require("by")
            repeat { query.groups.append(.init(try column())) } while try lexer.take(",")
        }
        if try lexer.take("order") {
            try lexer.require("by")
            repeat { query.order.append(try order(items)) } while try lexer.take(",")
        }
        if try lexer.take("offset") {
            guard query.top == nil else {
                throw FieldsealError(
                    .queryDoesNotFit, "TOP and OFFSET exclude each other. Write OFFSET … ROWS FETCH NEXT … ROWS ONLY.")
            }
            query.offset = try lexer.requireNumber()
            try lexer.require("rows", or: "row")
            if try lexer.take("fetch") {
                try lexer.require("next", or: "first")
                query.top = try lexer.requireNumber()
                try lexer.require("rows", or: "row")
                try lexer.require("only")
            }
        }
        _ = try lexer.take(";")
        guard lexer.isAtEnd else { throw lexer.unexpected("end, or a clause that this SELECT may have") }
        try requireTables()
        for item in items {
            // In the response, a column without an alias has its name from the query, in lower case.
            var name = item.name
            if name == nil, case .column(let column) = item.value { name = column.name }
            query.outputs.append(.init(item.value, name: name))
        }
        return (entity.logicalName, query)
    }

    private mutating func item() throws(FieldsealError) -> Item {
        guard !lexer.isSymbol("*") else { throw FieldsealError(.queryDoesNotFit, "SELECT * is not supported: name the columns.") }
        var item: Item
        if let aggregate = try aggregate() { item = aggregate } else { item = Item(value: .column(try column())) }
        if try lexer.take("as") {
            item.name = try OutputName.checked(try lexer.requireName(), "SELECT")
        } else if let name = try lexer.takeAlias() {
            item.name = try OutputName.checked(name, "SELECT")
        }
        return item
    }

    private mutating func aggregate() throws(FieldsealError) -> Item? {
        let functions: [String: RecordQuery.Aggregate] = [
            "count": .countColumn, "sum": .sum, "avg": .average, "min": .minimum, "max": .maximum,
        ]
        guard let name = lexer.word, var aggregate = functions[name], try lexer.isFollowed(by: "(") else { return nil }
        try lexer.advance()
        try lexer.require("(")
        if aggregate == .countColumn, try lexer.take("*") {
            try lexer.require(")")
            return Item(value: .aggregate(.count, nil), name: "count")
        }
        if aggregate == .countColumn, try lexer.take("distinct") { aggregate = .countDistinct }
        let column = try column()
        try lexer.require(")")
        return Item(value: .aggregate(aggregate, column), name: "\(name)_\(column.name)")
    }

    private mutating func table() throws(FieldsealError) -> EntityDefinition {
        let name = try lexer.requireName().lowercased()
        guard let entity = EntityCatalog.entity(name) else {
            throw FieldsealError(.queryDoesNotFit, "There is no table '\(name.prefix(100))'.")
        }
        var alias = name
        if try lexer.take("as") { alias = try lexer.requireName() } else if let given = try lexer.takeAlias() { alias = given }
        tables.append((alias.lowercased(), entity))
        return entity
    }

    private mutating func join() throws(FieldsealError) -> Bool {
        var isOuter = false
        if try lexer.take("left") {
            isOuter = true
            _ = try lexer.take("outer")
            try lexer.require("join")
        } else if try lexer.take("inner") {
            try lexer.require("join")
        } else {
            guard try lexer.take("join") else { return false }
        }
        let entity = try table()
        let alias = tables[tables.count - 1].alias
        try lexer.require("on")
        let left = try column()
        try lexer.require("=")
        let right = try column()
        let (inner, outer) = left.alias?.lowercased() == alias ? (left, right) : (right, left)
        guard inner.alias?.lowercased() == alias else {
            throw FieldsealError(
                .queryDoesNotFit, "ON must compare a column of the joined table with a column of an earlier table.")
        }
        var link = RecordQuery.Link(
            entity.logicalName, from: inner.name, to: outer.name, toAlias: outer.alias, alias: alias, isOuter: isOuter)
        if try lexer.take("and") {
            var parts = [try predicate()]
            while try lexer.take("and") { parts.append(try predicate()) }
            link.filter = .all(parts)
        }
        query.links.append(link)
        return true
    }

    private mutating func column() throws(FieldsealError) -> RecordQuery.Column {
        let first = try lexer.requireName()
        guard try lexer.take(".") else {
            bare.append(first.lowercased())
            return RecordQuery.Column(first.lowercased())
        }
        return RecordQuery.Column(try lexer.requireName().lowercased(), alias: first)
    }

    /// Refuses a column that is named without a table and that a table other than the first has. Such a column would be read as a
    /// column of the first table.
    private func requireTables() throws(FieldsealError) {
        guard tables.count > 1 else { return }
        for name in bare {
            let having = tables.filter { $0.entity[name] != nil }.map(\.alias)
            guard !having.isEmpty, having != [tables[0].alias] else { continue }
            throw FieldsealError(
                .queryDoesNotFit,
                "\(name.quotedForMessage) is a column of \(having.joined(separator: " and ")). Write \(having[0]).\(name.prefix(100))."
            )
        }
    }

    private mutating func order(_ items: [Item]) throws(FieldsealError) -> RecordQuery.Order {
        let key: RecordQuery.Order.Key
        if let aggregate = try aggregate() {
            guard case .aggregate(let function, let column) = aggregate.value,
                let item = items.first(where: { item in
                    if case .aggregate(function, column) = item.value { true } else { false }
                }), let name = item.name
            else { throw FieldsealError(.queryDoesNotFit, "ORDER BY takes an aggregate of the SELECT list.") }
            key = .output(name)
        } else {
            let column = try column()
            let isAlias = column.alias == nil && items.contains { $0.name?.lowercased() == column.name }
            if isAlias { bare.removeLast() }
            key = isAlias ? .output(column.name) : .column(column)
        }
        let isDescending = try lexer.take("desc")
        if !isDescending { _ = try lexer.take("asc") }
        return RecordQuery.Order(key, descending: isDescending)
    }

    // MARK: WHERE

    private mutating func or() throws(FieldsealError) -> Filter {
        depth += 1
        defer { depth -= 1 }
        guard depth <= 50 else { throw FieldsealError(.queryDoesNotFit, "A condition may be nested at most 50 levels deep.") }
        var parts = [try and()]
        while try lexer.take("or") { parts.append(try and()) }
        return parts.count == 1 ? parts[0] : .any(parts)
    }

    private mutating func and() throws(FieldsealError) -> Filter {
        var parts = [try unary()]
        while try lexer.take("and") { parts.append(try unary()) }
        return parts.count == 1 ? parts[0] : .all(parts)
    }

    private mutating func unary() throws(FieldsealError) -> Filter {
        if try lexer.take("not") {
            depth += 1
            defer { depth -= 1 }
            guard depth <= 50 else { throw FieldsealError(.queryDoesNotFit, "A condition may be nested at most 50 levels deep.") }
            return .not(try unary(), isThreeValued: true)
        }
        if try lexer.take("(") {
            let inner = try or()
            try lexer.require(")")
            return inner
        }
        return try predicate()
    }

    private mutating func predicate() throws(FieldsealError) -> Filter {
        let column = try column()
        if try lexer.take("is") {
            let isNot = try lexer.take("not")
            try lexer.require("null")
            return isNot ? .not(.isNull(column)) : .isNull(column)
        }
        let isNot = try lexer.take("not")
        if let filter = try special(column) { return isNot ? .not(filter, isThreeValued: true) : filter }
        guard !isNot, let comparison = try lexer.takeComparison() else { throw lexer.unexpected("comparison") }
        if let literal = try lexer.takeLiteral() { return .compare(column, comparison, literal) }
        return .compareColumns(column, comparison, try self.column())
    }

    private mutating func special(_ column: RecordQuery.Column) throws(FieldsealError) -> Filter? {
        if try lexer.take("like") {
            guard case .text(let text)? = try lexer.takeLiteral(), let pattern = TextPattern.sql(text) else {
                throw FieldsealError(
                    .queryDoesNotFit,
                    "LIKE takes a text with %, _ and sets of characters such as [a-c], which do not end before they begin.")
            }
            return .like(column, pattern)
        }
        if try lexer.take("in") {
            try lexer.require("(")
            var values: [Literal] = []
            repeat {
                guard let literal = try lexer.takeLiteral() else { throw lexer.unexpected("literal") }
                try Condition.add(literal, to: &values)
            } while try lexer.take(",")
            try lexer.require(")")
            return .isIn(column, values)
        }
        if try lexer.take("between") {
            guard let low = try lexer.takeLiteral() else { throw lexer.unexpected("literal") }
            try lexer.require("and")
            guard let high = try lexer.takeLiteral() else { throw lexer.unexpected("literal") }
            return .all([.compare(column, .greaterOrEqual, low), .compare(column, .lessOrEqual, high)])
        }
        return nil
    }
}
