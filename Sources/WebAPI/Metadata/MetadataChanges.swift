import Foundation
import JSON
import Model

// `RetrieveMetadataChanges(Query=@p,ClientVersionStamp=@s)`: the metadata that a query matches. The schema is fixed, so nothing
// changes within a version of the service.
extension DataAPI {
    private static let deletedFilters: Set<String> = [
        "All", "Attribute", "Default", "Entity", "Label", "OptionSet", "Relationship",
    ]

    func metadataChanges(_ arguments: String, _ request: APIRequest) throws -> APIResponse {
        let given = try FunctionArguments(
            arguments, request.query, of: "RetrieveMetadataChanges", ["Query"],
            optional: ["ClientVersionStamp", "DeletedMetadataFilters", "AppModuleId", "RetrieveAllSettings"])
        let isKnown = try MetadataStamp.isCurrent(given["ClientVersionStamp"])
        if given["AppModuleId"] != nil, given["AppModuleId"] != .null {
            throw FieldsealError(.notImplemented, "There are no apps here. Leave AppModuleId out.")
        }
        let filters = (given["DeletedMetadataFilters"]?.string ?? "").split(separator: ",").map { $0.trimmed }
        guard filters.allSatisfy({ Self.deletedFilters.contains(String($0)) }) else {
            let known = Self.deletedFilters.sorted().joined(separator: ", ")
            throw FieldsealError(.badRequest, "DeletedMetadataFilters takes \(known). Nothing is ever deleted.")
        }
        let query = try EntityMetadataQuery(given["Query"] ?? .null)
        var entities: [JSONValue] = []
        // A client with the current stamp already has all metadata.
        for entity in isKnown ? [] : EntityCatalog.all {
            if let value = try query.selected(entity) { entities.append(value) }
        }
        return APIResponse.json(
            .object([
                representation(request).context("Microsoft.Dynamics.CRM.RetrieveMetadataChangesResponse"),
                .init("EntityMetadata", .array(entities)), .init("ServerVersionStamp", .string(MetadataStamp.current)),
                .init("DeletedMetadata", nil),
            ]))
    }
}

/// An `EntityQueryExpression` in JSON.
private struct EntityMetadataQuery {
    private let query: JSONValue

    private static let members: Set<String> = [
        "Criteria", "Properties", "AttributeQuery", "RelationshipQuery", "KeyQuery", "LabelQuery",
    ]

    init(_ query: JSONValue) throws(FieldsealError) {
        guard case .object(let members) = query else {
            throw FieldsealError(.badRequest, "RetrieveMetadataChanges takes a Query in JSON: (Query=@p)?@p={…}.")
        }
        if let other = members.first(where: { !Self.members.contains($0.name) && !$0.name.contains("@") }) {
            throw FieldsealError(
                .badRequest, "A query of metadata can't have the member '\(other.name.prefix(100))'. Leave it out.")
        }
        try Self.check(labels: query["LabelQuery"])
        try MetadataMembers.check(query, of: MetadataMembers.entity)
        try MetadataMembers.check(query["AttributeQuery"], of: MetadataMembers.attribute)
        try MetadataMembers.check(query["RelationshipQuery"], of: MetadataMembers.relationship)
        try MetadataMembers.check(query["KeyQuery"], of: MetadataMembers.key)
        self.query = query
    }

    /// Refuses unknown members of a label query. Labels exist in one language, and are always returned.
    private static func check(labels: JSONValue?) throws(FieldsealError) {
        guard case .object(let members)? = labels else { return }
        let known = ["FilterLanguages", "MissingLabelBehavior"]
        if let other = members.first(where: { !known.contains($0.name) && !$0.name.contains("@") }) {
            throw FieldsealError(.badRequest, "LabelQuery can't have the member '\(other.name.prefix(100))'. Leave it out.")
        }
    }

    /// The entity with the parts that the query asks for; nil if the query's criteria do not match.
    func selected(_ entity: EntityDefinition) throws(FieldsealError) -> JSONValue? {
        let value = MetadataJSON.entity(entity)
        let names = MetadataView.requestedNames(query["Properties"])
        guard try MetadataView.matches(value, query["Criteria"]),
            // Clients read `HasChanged` of each part, so the response has it even if the query does not select it.
            case .object(var kept) = MetadataView.selected(value, names?.union(["HasChanged"]))
        else { return nil }
        if gives("Attributes", by: "AttributeQuery") {
            let attributes = entity.attributes.map { MetadataJSON.attribute($0, of: entity) }
            kept.append(.init("Attributes", .array(try part("AttributeQuery", attributes))))
        }
        if gives("Keys", by: "KeyQuery") { kept.append(.init("Keys", .array(try part("KeyQuery", MetadataJSON.keys(of: entity))))) }
        let relationships: [(name: String, values: () -> [JSONValue])] = [
            ("OneToManyRelationships", { entity.oneToMany.map(MetadataJSON.relationship) }),
            ("ManyToOneRelationships", { entity.manyToOne.map(MetadataJSON.relationship) }),
            ("ManyToManyRelationships", { entity.associations.map { MetadataJSON.relationship($0.relationship) } }),
        ]
        for (name, values) in relationships where gives(name, by: "RelationshipQuery") {
            kept.append(.init(name, .array(try part("RelationshipQuery", values()))))
        }
        return .object(kept)
    }

    /// Whether the response has a part: if `Properties` names it or asks for all, or if the query contains a query for that part.
    /// Without `Properties`, the response has the attributes.
    private func gives(_ part: String, by name: String) -> Bool {
        if let own = query[name], own != .null { return true }
        guard let properties = query["Properties"], properties != .null else { return part == "Attributes" }
        return MetadataView.requestedNames(properties)?.contains(part) ?? true
    }

    private func part(_ name: String, _ values: [JSONValue]) throws(FieldsealError) -> [JSONValue] {
        var selected: [JSONValue] = []
        for value in values where try MetadataView.matches(value, query[name]?["Criteria"]) {
            selected.append(MetadataView.selected(value, MetadataView.requestedNames(query[name]?["Properties"])))
        }
        return selected
    }
}
