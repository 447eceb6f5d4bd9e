import Model

/// The limits of a parsed query, counted over all of its parts. The limits are the same for each query language. They are checked
/// before any work whose cost grows with the query. Each language's parser also has a limit of its own for nesting, which is
/// reached before ``depth``.
enum QueryBounds {
    /// How many columns a query returns at most. PostgreSQL's limit is 1,664.
    static let outputs = 500
    /// How many columns a query groups or sorts by at most.
    static let keys = 100
    /// How many conditions the query and its links have at most.
    static let conditions = 500
    /// How deeply conditions are nested at most.
    static let depth = 64

    /// - Throws: ``FieldsealError`` `.queryDoesNotFit` naming the limit.
    static func check(_ query: RecordQuery) throws(FieldsealError) {
        guard query.outputs.count <= outputs else { throw refusal("give \(outputs) columns") }
        guard query.groups.count <= keys, query.order.count <= keys else { throw refusal("group or sort by \(keys) columns") }
        var rest: [(filter: Filter, depth: Int)] = []
        var links = query.links
        if let filter = query.filter { rest.append((filter, 1)) }
        var count = 0
        // Iterates instead of recursing, because a deeply nested condition could exhaust the stack.
        while let part = rest.popLast()
            ?? links.popLast().map({ link in
                links += link.links
                return (link.filter ?? .constant(true), 1)
            })
        {
            guard part.depth <= depth else { throw refusal("nest conditions \(depth) levels deep") }
            switch part.filter {
            case .all(let filters), .any(let filters): rest += filters.map { ($0, part.depth + 1) }
            case .not(let filter, _): rest.append((filter, part.depth + 1))
            case .exists(let link, _):
                links += link.links
                if let filter = link.filter { rest.append((filter, part.depth + 1)) }
                count += 1
            case .lambda(_, _, let filter, _):
                if let filter { rest.append((filter, part.depth + 1)) }
                count += 1
            default: count += 1
            }
            guard count <= conditions else { throw refusal("have \(conditions) conditions") }
        }
    }

    private static func refusal(_ limit: String) -> FieldsealError {
        FieldsealError(.queryDoesNotFit, "A query may \(limit), and this one asks for more.")
    }
}

extension Filter? {
    /// The condition that both conditions are true, as one `.all` list. So conditions that are added one by one are not nested.
    package func and(_ other: Filter) -> Filter {
        switch self {
        case nil: other
        case .all(let filters): .all(filters + [other])
        case let filter?: .all([filter, other])
        }
    }
}
