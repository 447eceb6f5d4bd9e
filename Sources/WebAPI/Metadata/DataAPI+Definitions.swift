import Foundation
import JSON
import Model
import Records

// Reads of `EntityDefinitions` and similar metadata. The schema is fixed, so writes are refused.
extension DataAPI {
    static let schemaIsFixed = FieldsealError(
        .notImplemented, "Tables, columns and relationships are fixed here; they are neither created nor changed nor deleted.")

    func definitions(_ segments: [ODataPath.Segment], _ request: APIRequest) throws -> APIResponse {
        let options = try ODataQuery.options(request.query)
        var rest = segments[...]
        let first = rest.removeFirst()
        let isCountAlone = rest.last == ODataPath.Segment(name: "$count", key: nil)
        if isCountAlone { rest.removeLast() }
        let view = try MetadataView(options, isCountAlone: isCountAlone)
        switch (first.name, first.key) {
        case ("EntityDefinitions", nil):
            guard rest.isEmpty else { throw ODataPath.unknown(rest[rest.startIndex].name) }
            return try list(
                try EntityCatalog.all.map { try expanded(MetadataJSON.entity($0), $0, view) }, view, "EntityDefinitions",
                expandable: Self.parts)
        case ("EntityDefinitions", let key?):
            let entity = try self.entity(key)
            guard let next = rest.popFirst() else {
                return try one(
                    try expanded(MetadataJSON.entity(entity), entity, view), view, "EntityDefinitions", expandable: Self.parts)
            }
            return try part(next, rest, of: entity, view)
        case ("RelationshipDefinitions", nil):
            let kind = Self.relationshipKind(rest)
            try requireEnd(rest.dropFirst(kind == nil ? 0 : 1))
            return try list(Self.relationships(kind), view, "RelationshipDefinitions")
        case ("RelationshipDefinitions", let key?):
            let kind = Self.relationshipKind(rest)
            let found = try find(key, "SchemaName", in: Self.relationships(kind))
            try requireEnd(rest.dropFirst(kind == nil ? 0 : 1), of: found)
            return try one(found, view, "RelationshipDefinitions")
        case (_, nil):
            try requireEnd(rest.dropFirst(Self.isOptionSetType(rest.first) ? 1 : 0))
            return try list([], view, first.name, members: MetadataMembers.optionSet)
        case (_, let key?):
            throw FieldsealError(.objectDoesNotExist, "There is no such metadata: \(key.prefix(100)). No choice is global here.")
        }
    }

    private enum RelationshipKind: String {
        case oneToMany = "OneToManyRelationshipMetadata"
        case manyToMany = "ManyToManyRelationshipMetadata"
    }

    /// The relationships of a kind; all relationships if `kind` is nil.
    private static func relationships(_ kind: RelationshipKind?) -> [JSONValue] {
        (kind == .manyToMany ? [] : EntityCatalog.relationships.map(MetadataJSON.relationship))
            + (kind == .oneToMany ? [] : EntityCatalog.manyToMany.map(MetadataJSON.relationship))
    }

    /// The relationships in one member of an entity's metadata, such as `OneToManyRelationships`; nil for a member that does not
    /// hold relationships.
    private static func relationships(_ member: String, of entity: EntityDefinition) -> [JSONValue]? {
        switch member {
        case "OneToManyRelationships": entity.oneToMany.map(MetadataJSON.relationship)
        case "ManyToOneRelationships": entity.manyToOne.map(MetadataJSON.relationship)
        case "ManyToManyRelationships": entity.associations.map { MetadataJSON.relationship($0.relationship) }
        default: nil
        }
    }

    /// The relationship type to which a path casts.
    private static func relationshipKind(_ rest: ArraySlice<ODataPath.Segment>) -> RelationshipKind? {
        guard let next = rest.first, next.key == nil else { return nil }
        return RelationshipKind(rawValue: next.name.strippingNamespace)
    }

    /// Whether a segment is a type of option sets, with its namespace.
    private static func isOptionSetType(_ segment: ODataPath.Segment?) -> Bool {
        guard let segment, segment.key == nil else { return false }
        return ["OptionSetMetadata", "BooleanOptionSetMetadata"].contains { segment.name == ODataPath.namespace + $0 }
    }

    /// - Parameter value: The metadata whose address ends here; nil for a list.
    private func requireEnd(_ rest: ArraySlice<ODataPath.Segment>, of value: JSONValue? = nil) throws(FieldsealError) {
        guard let next = rest.first else { return }
        throw Self.refusal(of: next, in: value)
    }

    /// The error for a path segment after metadata. In this service, a member of metadata has no address of its own.
    private static func refusal(of next: ODataPath.Segment, in value: JSONValue?) -> FieldsealError {
        guard case .object(let members)? = value, members.contains(where: { $0.name == next.name }) else {
            return ODataPath.unknown(next.name)
        }
        return FieldsealError(
            .noResource,
            "\(next.name) is a member of this metadata, and members have no address here. Leave it out of the address, and read it from "
                + "the response, also with $select=\(next.name).")
    }

    private func part(
        _ next: ODataPath.Segment,
        _ rest: ArraySlice<ODataPath.Segment>,
        of entity: EntityDefinition,
        _ view: MetadataView
    ) throws -> APIResponse {
        var rest = rest
        let context = "EntityDefinitions('\(entity.logicalName)')/\(next.name)"
        switch (next.name, next.key) {
        case ("Attributes", nil):
            let attributes = try entity.attributes.filter(Self.isOfType(rest.popFirst()))
            try requireEnd(rest)
            return try list(try attributes.map { try withOptions($0, entity, view) }, view, context, expandable: Self.optionSets)
        case ("Attributes", let key?): return try attribute(key, rest, of: entity, view, context)
        default:
            let isKeys = next.name == "Keys"
            guard let all = isKeys ? MetadataJSON.keys(of: entity) : Self.relationships(next.name, of: entity) else {
                throw Self.refusal(of: next, in: MetadataJSON.entity(entity))
            }
            guard let key = next.key else {
                try requireEnd(rest)
                return try list(all, view, context, members: isKeys ? MetadataMembers.key : MetadataMembers.relationship)
            }
            let found = try find(key, isKeys ? "LogicalName" : "SchemaName", in: all)
            try requireEnd(rest, of: found)
            return try one(found, view, context)
        }
    }

    /// Returns the definition of one attribute, or of its options.
    private func attribute(
        _ key: String, _ rest: ArraySlice<ODataPath.Segment>, of entity: EntityDefinition, _ view: MetadataView, _ context: String
    ) throws -> APIResponse {
        var rest = rest
        let found = try find(key, "LogicalName", in: entity.attributes.map { MetadataJSON.attribute($0, of: entity) })
        guard let name = found["LogicalName"]?.string, let attribute = entity[name] else { throw ODataPath.unknown(key) }
        if let cast = rest.first, AttributeMetadataType(segment: cast) != nil {
            guard try Self.isOfType(cast)(attribute) else {
                throw FieldsealError(
                    .noResource,
                    "\(attribute.logicalName) is no \(cast.name.strippingNamespace) but \(attribute.type.metadataName.withArticle)."
                )
            }
            rest.removeFirst()
        }
        guard let next = rest.popFirst() else {
            let hasOptions = MetadataJSON.optionSet(attribute, of: entity) != nil
            return try one(
                try withOptions(attribute, entity, view), view, context, expandable: hasOptions ? Self.optionSets : [])
        }
        guard next.key == nil, Self.optionSets.contains(next.name), let options = MetadataJSON.optionSet(attribute, of: entity)
        else { throw Self.refusal(of: next, in: found) }
        if let cast = rest.first, Self.isOptionSetType(cast) { rest.removeFirst() }
        try requireEnd(rest, of: options)
        if next.name == "OptionSet" { return try one(options, view, context) }
        // No option set is shared between attributes, so the response has no content.
        try view.requireSingle()
        return APIResponse.noContent()
    }

    /// Returns a test for the attributes that a cast selects. Without a cast, each attribute passes.
    ///
    /// - Throws: ``FieldsealError`` `.noResource` for an unknown type.
    private static func isOfType(_ cast: ODataPath.Segment?) throws(FieldsealError) -> (AttributeDefinition) -> Bool {
        guard let cast else { return { _ in true } }
        guard let type = AttributeMetadataType(segment: cast) else { throw ODataPath.unknown(cast.name) }
        return { type.includes($0.type) }
    }

    private func entity(_ key: String) throws(FieldsealError) -> EntityDefinition {
        let all = EntityCatalog.all.map(MetadataJSON.entity)
        guard let name = try find(key, "LogicalName", in: all)["LogicalName"]?.string, let entity = EntityCatalog.entity(name)
        else {
            throw ODataPath.unknown("EntityDefinitions")
        }
        return entity
    }

    /// The element that a key names, either by its `MetadataId` or by a name such as `LogicalName='mailbox'`.
    private func find(_ key: String, _ name: String, in all: [JSONValue]) throws(FieldsealError) -> JSONValue {
        let found = all.first { value in
            key.lowercased() == value["MetadataId"]?.string || key == "\(name)='\(value[name]?.string ?? "")'"
                || key.lowercased() == "metadataid=\(value["MetadataId"]?.string ?? "")"
        }
        guard let found else { throw FieldsealError(.objectDoesNotExist, "There is no such metadata: \(key.prefix(100)).") }
        return found
    }

    private static let optionSets = ["OptionSet", "GlobalOptionSet"]
    private static let relationshipLists = ["OneToManyRelationships", "ManyToOneRelationships", "ManyToManyRelationships"]
    private static let parts = ["Attributes", "Keys"] + relationshipLists

    /// An attribute with its expanded option sets.
    private func withOptions(_ attribute: AttributeDefinition, _ entity: EntityDefinition, _ view: MetadataView)
        throws(FieldsealError) -> JSONValue
    {
        try view.requireExpansions(of: Self.optionSets)
        let value = MetadataJSON.attribute(attribute, of: entity)
        guard view.expands("OptionSet") || view.expands("GlobalOptionSet"), case .object(var members) = value,
            let options = MetadataJSON.optionSet(attribute, of: entity)
        else { return value }
        if view.expands("OptionSet") { members.append(.init("OptionSet", try view.nested("OptionSet", options))) }
        if view.expands("GlobalOptionSet") { members.append(.init("GlobalOptionSet", nil)) }
        return .object(members)
    }

    private func expanded(_ value: JSONValue, _ entity: EntityDefinition, _ view: MetadataView) throws(FieldsealError) -> JSONValue
    {
        try view.requireExpansions(of: Self.parts)
        guard case .object(var members) = value else { return value }
        if let inner = try view.view(of: "Attributes") {
            var attributes: [JSONValue] = []
            for attribute in entity.attributes { attributes.append(try withOptions(attribute, entity, inner)) }
            members.append(.init("Attributes", .array(try inner.listed(attributes))))
        }
        if let inner = try view.view(of: "Keys") {
            members.append(.init("Keys", .array(try inner.listed(MetadataJSON.keys(of: entity), MetadataMembers.key))))
        }
        for name in Self.relationshipLists {
            guard let inner = try view.view(of: name) else { continue }
            members.append(
                .init(name, .array(try inner.listed(Self.relationships(name, of: entity) ?? [], MetadataMembers.relationship))))
        }
        return .object(members)
    }

    /// - Parameters:
    ///   - expandable: The navigation properties of these values.
    ///   - members: The members that these values may have. Needed if the list of values may be empty.
    private func list(
        _ values: [JSONValue], _ view: MetadataView, _ context: String, expandable: [String] = [], members known: Set<String> = []
    ) throws(FieldsealError) -> APIResponse {
        try view.requireExpansions(of: expandable)
        let selected = try view.listed(values, known)
        if view.isCountAlone { return APIResponse.text(String(selected.count)) }
        var members: [JSONValue.Member] = [.init("@odata.context", .string("\(serviceRoot)/$metadata#\(context)"))]
        if view.isCounted { members.append(.init("@odata.count", .integer(Int64(selected.count)))) }
        return APIResponse.json(.object(members + [.init("value", .array(selected))]))
    }

    private func one(_ value: JSONValue, _ view: MetadataView, _ context: String, expandable: [String] = [])
        throws(FieldsealError) -> APIResponse
    {
        try view.requireSingle()
        try view.requireExpansions(of: expandable)
        try view.requireMembers(of: [value])
        guard case .object(let members) = view.selected(value) else { throw ODataPath.unknown(context) }
        return APIResponse.json(
            .object([.init("@odata.context", .string("\(serviceRoot)/$metadata#\(context)/$entity"))] + members))
    }
}
