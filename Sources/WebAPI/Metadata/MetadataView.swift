import Foundation
import JSON
import Model
import Records

/// Applies `$select`, `$filter` and `$expand` to metadata, which is not in the database.
struct MetadataView {
    private var select: Set<String> = []
    private var filter: Filter?
    private var expansions: [Expansion] = []
    /// Whether the number of values is requested too.
    private(set) var isCounted = false
    /// Whether the address ends with `/$count`.
    let isCountAlone: Bool

    /// Options that have no effect: labels exist in one language only, and `$format` was read from the request already.
    private static let harmless: Set<String> = ["LabelLanguages", "$format"]

    /// - Parameter isCountAlone: Whether the address ends with `/$count`.
    init(_ options: [(name: String, value: String)], isCountAlone: Bool = false) throws(FieldsealError) {
        self.isCountAlone = isCountAlone
        let aliases = Dictionary(
            options.filter { $0.name.hasPrefix("@") }.map { (String($0.name.dropFirst()), $0.value) }, uniquingKeysWith: { $1 })
        try ODataQuery.requireEachOnce(options)
        for (name, value) in options {
            if isCountAlone, ["$select", "$expand", "$count"].contains(name) {
                throw FieldsealError(.queryDoesNotFit, "/$count of metadata takes $filter, and not '\(name)'.")
            }
            switch name {
            case "$select": select = Set(value.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) })
            case "$filter":
                let condition = try FilterParser.parse(value, aliases: aliases)
                try Self.requireSupported(condition)
                filter = condition
            case "$expand": expansions = try ExpandParser.parse(value, aliases: aliases)
            case "$count":
                guard ["true", "false"].contains(value) else {
                    throw FieldsealError(.queryDoesNotFit, "$count takes true or false.")
                }
                isCounted = value == "true"
            case _ where Self.harmless.contains(name) || name.hasPrefix("@"): continue
            default:
                throw FieldsealError(
                    .queryDoesNotFit, "Metadata takes $select, $filter, $expand and $count, and not '\(name.prefix(50))'.")
            }
        }
    }

    /// The options of an expanded property. An expanded property takes the same options as a list.
    private init(_ expansion: Expansion) throws(FieldsealError) {
        guard expansion.query.order.isEmpty, expansion.query.top == nil, !expansion.isReference else {
            throw FieldsealError(
                .queryDoesNotFit, "$expand of \(expansion.property) in metadata takes $select, $filter and $expand.")
        }
        select = Set(
            expansion.query.outputs.compactMap { output in
                if case .column(let column) = output.value { column.name } else { nil }
            })
        filter = expansion.query.filter
        expansions = expansion.expansions
        isCountAlone = false
        if let filter { try Self.requireSupported(filter) }
    }

    /// The options of an expanded property; nil if it is not expanded.
    func view(of property: String) throws(FieldsealError) -> MetadataView? {
        guard let expansion = expansions.first(where: { $0.property == property }) else { return nil }
        return try MetadataView(expansion)
    }

    /// Refuses to expand properties that this kind of metadata does not have.
    func requireExpansions(of properties: [String]) throws(FieldsealError) {
        guard let other = expansions.first(where: { !properties.contains($0.property) }) else { return }
        let known = properties.isEmpty ? "It has none" : "It has \(properties.joined(separator: ", "))"
        throw FieldsealError(
            .queryDoesNotFit, "This metadata has no navigation property \(other.property.prefix(50)). \(known).")
    }

    /// The values that match the filter, with the selected members.
    ///
    /// - Parameter members: The members that these values may have. Needed if the list of values may be empty.
    func listed(_ values: [JSONValue], _ members: Set<String> = []) throws(FieldsealError) -> [JSONValue] {
        try requireMembers(of: values, members)
        var listed: [JSONValue] = []
        for value in values where try matches(value) { listed.append(selected(value)) }
        return listed
    }

    func expands(_ property: String) -> Bool { expansions.contains { $0.property == property } }

    /// Refuses `$select` and `$filter` with members that no value has.
    ///
    /// - Parameter members: The members that these values may have. Needed if the list of values may be empty.
    func requireMembers(of values: [JSONValue], _ members: Set<String> = []) throws(FieldsealError) {
        guard !values.isEmpty || !members.isEmpty else { return }
        var known = members.union(expansions.map(\.property))
        for case .object(let members) in values { known.formUnion(members.map(\.name)) }
        let filtered = filter.map { Self.names(in: $0) } ?? []
        if let name = select.union(filtered).subtracting(known).sorted().first {
            guard !MetadataMembers.related.contains(name) else {
                throw FieldsealError(.queryDoesNotFit, "\(name) is other metadata: it is in the response where $expand names it.")
            }
            throw FieldsealError(.queryDoesNotFit, "This metadata has no member '\(name.prefix(100))'.")
        }
        guard let filter else { return }
        var kinds = MetadataKinds(values)
        try Self.check(filter, of: &kinds)
    }

    /// Refuses operators that metadata does not support, even in a part of the condition that does not decide the result.
    private static func requireSupported(_ filter: Filter) throws(FieldsealError) {
        switch filter {
        case .constant, .isNull, .isIn, .compare(_, .equal, _), .compare(_, .notEqual, _): return
        case .all(let parts), .any(let parts): for part in parts { try requireSupported(part) }
        case .not(let inner, _): try requireSupported(inner)
        default: throw unsupported
        }
    }

    private static let unsupported = FieldsealError(
        .queryDoesNotFit, "A filter of metadata takes only eq, ne, in, and, or, not.")

    /// Refuses comparisons that no metadata of this kind can satisfy.
    private static func check(_ filter: Filter, of kinds: inout MetadataKinds) throws(FieldsealError) {
        switch filter {
        case .all(let parts), .any(let parts):
            for part in parts { try check(part, of: &kinds) }
        case .not(let inner, _): try check(inner, of: &kinds)
        case .isNull(let column): try MetadataMembers.check(column, .null, in: &kinds)
        case .compare(let column, _, let literal): try MetadataMembers.check(column, literal, in: &kinds)
        case .isIn(let column, let literals):
            for literal in literals { try MetadataMembers.check(column, literal, in: &kinds) }
        default: return
        }
    }

    /// Refuses options of lists for a single value.
    func requireSingle() throws(FieldsealError) {
        guard !isCountAlone else { throw ODataPath.unknown("$count") }
        guard filter != nil || isCounted else { return }
        throw FieldsealError(.queryDoesNotFit, "$filter and $count are for lists, and this address is that of one value.")
    }

    /// The first member of each path in a condition, such as `IsCustomizable` of `IsCustomizable/Value`.
    private static func names(in filter: Filter) -> Set<String> {
        switch filter {
        case .all(let parts), .any(let parts): parts.reduce(into: []) { $0.formUnion(names(in: $1)) }
        case .not(let inner, _): names(in: inner)
        case .isNull(let column), .compare(let column, _, _), .isIn(let column, _): [column.path.first ?? column.name]
        default: []
        }
    }

    /// Members of option sets. The option set of a boolean has two named options, and any other option set has a list.
    private static let options: JSONValue = ["Options": nil, "TrueOption": nil, "FalseOption": nil]

    /// A single value of an expanded property, with the members of its own `$select`.
    func nested(_ property: String, _ value: JSONValue) throws(FieldsealError) -> JSONValue {
        guard let view = try self.view(of: property) else { return value }
        guard view.filter == nil, view.expansions.isEmpty else {
            throw FieldsealError(.queryDoesNotFit, "$expand of \(property) takes $select alone: it is one value.")
        }
        try view.requireMembers(of: [value, Self.options])
        return view.selected(value)
    }

    func selected(_ value: JSONValue) -> JSONValue {
        Self.selected(value, select.isEmpty ? nil : select.union(expansions.map(\.property)))
    }

    /// - Parameter names: The names of the members to keep; nil to keep all.
    static func selected(_ value: JSONValue, _ names: Set<String>?) -> JSONValue {
        guard let names, case .object(let members) = value else { return value }
        return .object(members.filter { names.contains($0.name) || $0.name == "@odata.type" || $0.name == "MetadataId" })
    }

    func matches(_ value: JSONValue) throws(FieldsealError) -> Bool {
        guard let filter else { return true }
        return try Self.matches(value, filter)
    }

    private static func matches(_ value: JSONValue, _ filter: Filter) throws(FieldsealError) -> Bool {
        switch filter {
        case .constant(let flag): return flag
        case .all(let parts):
            for part in parts where try !matches(value, part) { return false }
            return true
        case .any(let parts):
            for part in parts where try matches(value, part) { return true }
            return false
        case .not(let inner, _): return try !matches(value, inner)
        case .isNull(let column): return self.value(column, value) == nil
        case .compare(let column, .equal, let literal): return equals(self.value(column, value), literal)
        case .compare(let column, .notEqual, let literal): return !equals(self.value(column, value), literal)
        case .isIn(let column, let literals): return literals.contains { equals(self.value(column, value), $0) }
        default: throw unsupported
        }
    }

    /// The value of a property, or of a nested property such as `IsCustomizable/Value`; nil if it is missing, or is JSON's null.
    private static func value(_ column: RecordQuery.Column, _ value: JSONValue) -> JSONValue? {
        var current = value
        for step in column.path + [column.name] {
            guard let next = current[step] else { return nil }
            current = next
        }
        // These are two statements, because nil in a single expression would become JSON's null.
        if case .null = current { return nil }
        return current
    }

    private static func equals(_ value: JSONValue?, _ literal: Literal) -> Bool {
        switch (value, literal) {
        case (nil, .null): true
        case (.string(let text)?, .text(let other)): text == other
        case (.bool(let flag)?, .bool(let other)): flag == other
        case (.integer(let number)?, .number(let other)): decimal("\(number)") == decimal(other)
        case (.number(let number)?, .number(let other)): decimal(number) == decimal(other)
        default: false
        }
    }

    private static func decimal(_ number: String) -> Decimal? { Decimal(string: number, locale: Locale(identifier: "en_US_POSIX")) }

    /// The members that `Properties` of a metadata query requests; nil if the query requests all members.
    static func requestedNames(_ properties: JSONValue?) -> Set<String>? {
        guard let properties, properties != .null, properties["AllProperties"] != .bool(true) else { return nil }
        guard case .array(let names)? = properties["PropertyNames"] else { return [] }
        return Set(names.compactMap(\.string))
    }
}
