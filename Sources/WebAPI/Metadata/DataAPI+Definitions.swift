import Foundation
import JSON
import Model
import Records

// Reads of `EntityDefinitions` and its like. The schema is fixed: writes are refused.
extension DataAPI {
    static let schemaIsFixed = FieldsealError(
        .notImplemented, "Tables, columns and relationships are fixed here; they are neither created nor changed nor deleted.")

    func definitions(_ segments: [ODataPath.Segment], _ request: APIRequest) throws -> APIAnswer {
        let options = try ODataQuery.options(request.query)
        var rest = segments[...]
        let first = rest.removeFirst()
        let view = try MetadataView(options)
        switch (first.name, first.key) {
        case ("EntityDefinitions", nil):
            guard rest.isEmpty else { throw ODataPath.unknown(rest[rest.startIndex].name) }
            return try list(EntityCatalog.all.map { expanded(Definitions.entity($0), $0, view) }, view, "EntityDefinitions")
        case ("EntityDefinitions", let key?):
            let entity = try self.entity(key)
            guard let next = rest.popFirst() else {
                return try one(expanded(Definitions.entity(entity), entity, view), view, "EntityDefinitions")
            }
            return try part(next, rest, of: entity, view)
        case ("RelationshipDefinitions", nil):
            let kind = Self.relationshipKind(rest)
            try requireEnd(rest.dropFirst(kind == nil ? 0 : 1))
            return try list(Self.relationships(kind), view, "RelationshipDefinitions")
        case ("RelationshipDefinitions", let key?):
            let kind = Self.relationshipKind(rest)
            try requireEnd(rest.dropFirst(kind == nil ? 0 : 1))
            return try one(try find(key, "SchemaName", in: Self.relationships(kind)), view, "RelationshipDefinitions")
        case (_, nil):
            try requireEnd(rest)
            return try list([], view, first.name)
        case (_, let key?):
            throw FieldsealError(.objectDoesNotExist, "There is no such metadata: \(key.prefix(100)). No choice is global here.")
        }
    }

    private enum RelationshipKind: String {
        case oneToMany = "OneToManyRelationshipMetadata"
        case manyToMany = "ManyToManyRelationshipMetadata"
    }

    /// The relationships of a kind; nil for all.
    private static func relationships(_ kind: RelationshipKind?) -> [JSONValue] {
        (kind == .manyToMany ? [] : EntityCatalog.relationships.map(Definitions.relationship))
            + (kind == .oneToMany ? [] : EntityCatalog.manyToMany.map(Definitions.relationship))
    }

    /// The relationships of an entity under one of its members; nil for another member.
    private static func relationships(_ member: String, of entity: EntityDefinition) -> [JSONValue]? {
        switch member {
        case "OneToManyRelationships": entity.oneToMany.map(Definitions.relationship)
        case "ManyToOneRelationships": entity.manyToOne.map(Definitions.relationship)
        case "ManyToManyRelationships": entity.associations.map { Definitions.relationship($0.relationship) }
        default: nil
        }
    }

    /// The type that a path casts relationships to.
    private static func relationshipKind(_ rest: ArraySlice<ODataPath.Segment>) -> RelationshipKind? {
        guard let next = rest.first, next.key == nil else { return nil }
        return RelationshipKind(rawValue: next.name.strippingNamespace)
    }

    private func requireEnd(_ rest: ArraySlice<ODataPath.Segment>) throws(FieldsealError) {
        if let next = rest.first { throw ODataPath.unknown(next.name) }
    }

    private func part(
        _ next: ODataPath.Segment,
        _ rest: ArraySlice<ODataPath.Segment>,
        of entity: EntityDefinition,
        _ view: MetadataView
    ) throws -> APIAnswer {
        var rest = rest
        let context = "EntityDefinitions('\(entity.logicalName)')/\(next.name)"
        switch (next.name, next.key) {
        case ("Attributes", nil):
            let cast = rest.popFirst()
            let kind = cast?.name.strippingNamespace
            try requireEnd(rest)
            if let cast, cast.key != nil || !Self.isAttributeType(cast.name) { throw ODataPath.unknown(cast.name) }
            let attributes = entity.attributes.filter { kind == nil || kind == "\($0.type.metadataName)AttributeMetadata" }
            return try list(attributes.map { withOptions($0, entity, view) }, view, context)
        case ("Attributes", let key?):
            let all = entity.attributes.map { withOptions($0, entity, view) }
            let found = try find(key, "LogicalName", in: all)
            guard let name = found["LogicalName"]?.string, let attribute = entity[name] else { throw ODataPath.unknown(key) }
            if let cast = rest.first, Self.isAttributeType(cast.name) {
                guard cast.key == nil, cast.name.strippingNamespace == "\(attribute.type.metadataName)AttributeMetadata" else {
                    throw FieldsealError(
                        .noResource,
                        "\(attribute.logicalName) is no \(cast.name.strippingNamespace) but a \(attribute.type.metadataName).")
                }
                rest.removeFirst()
            }
            if let next = rest.popFirst() {
                try requireEnd(rest)
                guard next.name == "OptionSet", next.key == nil,
                    let options = Definitions.optionSet(attribute, of: entity)
                else { throw ODataPath.unknown(next.name) }
                return try one(options, view, context)
            }
            return try one(found, view, context)
        case _ where !rest.isEmpty: throw ODataPath.unknown(rest[rest.startIndex].name)
        case ("Keys", nil): return try list(Definitions.keys(of: entity), view, context)
        default:
            guard let all = Self.relationships(next.name, of: entity) else { throw ODataPath.unknown(next.name) }
            guard let key = next.key else { return try list(all, view, context) }
            return try one(try find(key, "SchemaName", in: all), view, context)
        }
    }

    /// Whether a segment is the name of a type of attributes, with its namespace.
    private static func isAttributeType(_ name: String) -> Bool {
        let types = EntityCatalog.all.flatMap(\.attributes).map { "\(ODataPath.namespace)\($0.type.metadataName)AttributeMetadata" }
        return types.contains(name)
    }

    private func entity(_ key: String) throws(FieldsealError) -> EntityDefinition {
        let all = EntityCatalog.all.map(Definitions.entity)
        guard let name = try find(key, "LogicalName", in: all)["LogicalName"]?.string, let entity = EntityCatalog.entity(name)
        else {
            throw ODataPath.unknown("EntityDefinitions")
        }
        return entity
    }

    /// The element of a `MetadataId`, or of a name such as `LogicalName='mailbox'`.
    private func find(_ key: String, _ name: String, in all: [JSONValue]) throws(FieldsealError) -> JSONValue {
        let found = all.first { value in
            key.lowercased() == value["MetadataId"]?.string || key == "\(name)='\(value[name]?.string ?? "")'"
                || key.lowercased() == "metadataid=\(value["MetadataId"]?.string ?? "")"
        }
        guard let found else { throw FieldsealError(.objectDoesNotExist, "There is no such metadata: \(key.prefix(100)).") }
        return found
    }

    private func withOptions(_ attribute: AttributeDefinition, _ entity: EntityDefinition, _ view: MetadataView) -> JSONValue {
        let value = Definitions.attribute(attribute, of: entity)
        guard view.expands("OptionSet"), case .object(let members) = value,
            let options = Definitions.optionSet(attribute, of: entity)
        else { return value }
        return .object(members + [.init("OptionSet", options)])
    }

    private func expanded(_ value: JSONValue, _ entity: EntityDefinition, _ view: MetadataView) -> JSONValue {
        guard case .object(var members) = value else { return value }
        if view.expands("Attributes") {
            members.append(
                .init(
                    "Attributes", .array(entity.attributes.map { view.nested("Attributes", Definitions.attribute($0, of: entity)) })
                ))
        }
        if view.expands("Keys") { members.append(.init("Keys", .array(Definitions.keys(of: entity)))) }
        for name in ["OneToManyRelationships", "ManyToOneRelationships", "ManyToManyRelationships"] where view.expands(name) {
            members.append(.init(name, .array((Self.relationships(name, of: entity) ?? []).map { view.nested(name, $0) })))
        }
        return .object(members)
    }

    private func list(_ values: [JSONValue], _ view: MetadataView, _ context: String) throws(FieldsealError) -> APIAnswer {
        try view.requireMembers(of: values)
        var selected: [JSONValue] = []
        for value in values where try view.matches(value) { selected.append(view.selected(value)) }
        var members: [JSONValue.Member] = [.init("@odata.context", .string("\(serviceRoot)/$metadata#\(context)"))]
        if view.isCounted { members.append(.init("@odata.count", .integer(Int64(selected.count)))) }
        return APIAnswer.json(.object(members + [.init("value", .array(selected))]))
    }

    private func one(_ value: JSONValue, _ view: MetadataView, _ context: String) throws(FieldsealError) -> APIAnswer {
        try view.requireMembers(of: [value])
        guard case .object(let members) = view.selected(value) else { throw ODataPath.unknown(context) }
        return APIAnswer.json(.object([.init("@odata.context", .string("\(serviceRoot)/$metadata#\(context)/$entity"))] + members))
    }

    /// `RetrieveMetadataChanges(Query=@p)?@p={…}`: the entities and attributes that the query's criteria match.
    func metadataChanges(_ arguments: String, _ request: APIRequest) throws -> APIAnswer {
        let options = try ODataQuery.options(request.query)
        var text = arguments.split(separator: "=", maxSplits: 1).last.map(String.init) ?? ""
        if text.hasPrefix("@") { text = options.first { $0.name == text }?.value ?? "" }
        guard let query = try? JSONParser.parse(Array(text.utf8)) else {
            throw FieldsealError(.badRequest, "RetrieveMetadataChanges takes a Query in JSON: (Query=@p)?@p={…}.")
        }
        var entities: [JSONValue] = []
        for entity in EntityCatalog.all {
            let value = Definitions.entity(entity)
            guard try MetadataView.matches(value, query["Criteria"]), case .object(let members) = value else { continue }
            var attributes: [JSONValue] = []
            for attribute in entity.attributes {
                let value = Definitions.attribute(attribute, of: entity)
                guard try MetadataView.matches(value, query["AttributeQuery"]?["Criteria"]) else { continue }
                attributes.append(MetadataView.selected(value, MetadataView.names(query["AttributeQuery"]?["Properties"])))
            }
            let selected = MetadataView.selected(.object(members), MetadataView.names(query["Properties"]))
            guard case .object(let kept) = selected else { continue }
            entities.append(.object(kept + [.init("Attributes", .array(attributes))]))
        }
        return APIAnswer.json(
            .object([
                representation(request).context("Microsoft.Dynamics.CRM.RetrieveMetadataChangesResponse"),
                .init("EntityMetadata", .array(entities)), .init("ServerVersionStamp", "1"), .init("DeletedMetadata", nil),
            ]))
    }
}

/// `$select`, `$filter` and `$expand` over metadata, which stands in no database.
struct MetadataView {
    private var select: Set<String> = []
    private var filter: Filter?
    private var expansions: [Expansion] = []
    /// Whether the number of values is wanted too.
    private(set) var isCounted = false

    /// Options of Dataverse that change nothing here: there are labels of one language.
    private static let harmless: Set<String> = ["LabelLanguages", "$format"]
    private static let expandable: Set<String> = [
        "Attributes", "Keys", "OneToManyRelationships", "ManyToOneRelationships", "ManyToManyRelationships", "OptionSet",
        "GlobalOptionSet",
    ]

    init(_ options: [(name: String, value: String)]) throws(FieldsealError) {
        for (name, value) in options {
            switch name {
            case "$select": select = Set(value.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) })
            case "$filter": filter = try FilterParser.parse(value)
            case "$expand": expansions = try ExpandParser.parse(value, aliases: [:])
            case "$count": isCounted = value == "true"
            case _ where Self.harmless.contains(name) || name.hasPrefix("@"): continue
            default:
                throw FieldsealError(
                    .queryDoesNotFit, "Metadata takes $select, $filter, $expand and $count, and not '\(name.prefix(50))'.")
            }
        }
        if let other = expansions.first(where: { !Self.expandable.contains($0.property) }) {
            throw FieldsealError(.queryDoesNotFit, "Metadata has no navigation property \(other.property.prefix(50)).")
        }
    }

    func expands(_ property: String) -> Bool { expansions.contains { $0.property == property } }

    /// Refuses `$select` and `$filter` of members that none of the values has.
    func requireMembers(of values: [JSONValue]) throws(FieldsealError) {
        guard !values.isEmpty else { return }
        var known = Self.expandable
        for case .object(let members) in values { known.formUnion(members.map(\.name)) }
        let filtered = filter.map { Self.names(in: $0) } ?? []
        guard let name = select.union(filtered).subtracting(known).sorted().first else { return }
        throw FieldsealError(.queryDoesNotFit, "This metadata has no member '\(name.prefix(100))'.")
    }

    /// The members that a condition begins with.
    private static func names(in filter: Filter) -> Set<String> {
        switch filter {
        case .all(let parts), .any(let parts): parts.reduce(into: []) { $0.formUnion(names(in: $1)) }
        case .not(let inner, _): names(in: inner)
        case .isNull(let column), .compare(let column, _, _), .isIn(let column, _): [column.path.first ?? column.name]
        default: []
        }
    }

    /// A value under an expanded property, with what its own `$select` names.
    func nested(_ property: String, _ value: JSONValue) -> JSONValue {
        guard let expansion = expansions.first(where: { $0.property == property }) else { return value }
        let names = expansion.query.outputs.compactMap { output -> String? in
            guard case .column(let column) = output.value else { return nil }
            return column.name
        }
        return Self.selected(value, Set(names))
    }

    func selected(_ value: JSONValue) -> JSONValue {
        Self.selected(value, select.isEmpty ? [] : select.union(expansions.map(\.property)))
    }

    static func selected(_ value: JSONValue, _ names: Set<String>) -> JSONValue {
        guard !names.isEmpty, case .object(let members) = value else { return value }
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
        default:
            throw FieldsealError(.queryDoesNotFit, "Metadata is filtered with eq, ne, in, and, or, not.")
        }
    }

    /// The text of a property, or of one below it such as `IsCustomizable/Value`.
    private static func value(_ column: RecordQuery.Column, _ value: JSONValue) -> JSONValue? {
        var current = value
        for step in column.path + [column.name] {
            guard let next = current[step] else { return nil }
            current = next
        }
        return current == .null ? nil : current
    }

    private static func equals(_ value: JSONValue?, _ literal: Literal) -> Bool {
        switch (value, literal) {
        case (nil, .null): true
        case (.string(let text)?, .text(let other)): text == other
        case (.bool(let flag)?, .bool(let other)): flag == other
        case (.integer(let number)?, .number(let other)): String(number) == other
        default: false
        }
    }

    /// Whether a value matches the criteria of a metadata query: `Conditions` and `Filters` joined by `FilterOperator`.
    static func matches(_ value: JSONValue, _ criteria: JSONValue?) throws(FieldsealError) -> Bool {
        let isAny = criteria?["FilterOperator"]?.string?.lowercased() == "or"
        var isEmpty = true
        if case .array(let conditions)? = criteria?["Conditions"] {
            for condition in conditions {
                isEmpty = false
                if try holds(condition, value) == isAny { return isAny }
            }
        }
        if case .array(let filters)? = criteria?["Filters"] {
            for filter in filters {
                isEmpty = false
                if try matches(value, filter) == isAny { return isAny }
            }
        }
        return isEmpty || !isAny
    }

    private static func holds(_ condition: JSONValue, _ value: JSONValue) throws(FieldsealError) -> Bool {
        guard let name = condition["PropertyName"]?.string else {
            throw FieldsealError(.badRequest, "A condition of a metadata query has a PropertyName.")
        }
        let wanted = condition["Value"]?["Value"] ?? condition["Value"] ?? .null
        // A managed property is compared by its value.
        let own = value[name]?["Value"] ?? value[name] ?? .null
        func isListed() throws(FieldsealError) -> Bool {
            guard case .array(let values) = wanted else {
                throw FieldsealError(.badRequest, "In and NotIn of a metadata query take an array.")
            }
            return values.contains(own)
        }
        switch condition["ConditionOperator"]?.string {
        case "Equals", nil: return own == wanted
        case "NotEquals": return own != wanted
        case "In": return try isListed()
        case "NotIn": return try !isListed()
        case "GreaterThan", "LessThan":
            guard case .integer(let left) = own, case .integer(let right) = wanted else { return false }
            return condition["ConditionOperator"] == "GreaterThan" ? left > right : left < right
        default:
            throw FieldsealError(
                .badRequest, "A condition of a metadata query is Equals, NotEquals, In, NotIn, GreaterThan or LessThan.")
        }
    }

    static func names(_ properties: JSONValue?) -> Set<String> {
        guard properties?["AllProperties"] != .bool(true), case .array(let names)? = properties?["PropertyNames"] else { return [] }
        return Set(names.compactMap(\.string))
    }
}
