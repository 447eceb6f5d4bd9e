import Foundation
import JSON
import Model

// Requests for metadata. Every caller may read metadata, as in the Web API.
extension OrganizationService {
    func metadata(_ request: OrganizationRequest) throws(FieldsealError) -> OrganizationResponse {
        switch request.name {
        case "RetrieveEntity": try retrieveEntity(request)
        case "RetrieveAllEntities": try retrieveAllEntities(request)
        case "RetrieveAttribute": try retrieveAttribute(request)
        default: try retrieveMetadataChanges(request)
        }
    }

    /// How many records an entity's metadata counts as, for the limit of records: one for the entity, and one for each of its
    /// attributes and relationships.
    private static func size(_ entity: JSONValue) -> Int {
        guard case .object(let members) = entity else { return 1 }
        return members.reduce(1) { size, member in
            if case .array(let parts) = member.value { size + parts.count } else { size }
        }
    }

    private func filters(_ request: OrganizationRequest) throws(FieldsealError) -> MetadataParts.Filters {
        guard let filters = MetadataParts.Filters(words: try request.word("EntityFilters") ?? "Default") else {
            throw request.mismatch("EntityFilters", "Default, Entity, Attributes, Privileges, Relationships or All")
        }
        return filters
    }

    private func entity(_ request: OrganizationRequest, _ parameter: String) throws(FieldsealError) -> EntityDefinition {
        if let id = try request.id("MetadataId"), parameter == "LogicalName" {
            guard let entity = EntityCatalog.all.first(where: { MetadataJSON.id("entity", $0.logicalName) == id.text }) else {
                throw FieldsealError(.objectDoesNotExist, "There is no entity with this MetadataId.")
            }
            try check(request, parameter, entity.logicalName)
            return entity
        }
        return try Self.entity(try request.text(parameter))
    }

    /// Refuses a name that is not the name of the metadata with the given MetadataId.
    private func check(_ request: OrganizationRequest, _ parameter: String, _ name: String) throws(FieldsealError) {
        guard let given = try request.text(parameter), !given.isEmpty, given.lowercased() != name else { return }
        throw FieldsealError(
            .invalidArgument, "\(parameter) is \(given.quotedForFault), and MetadataId belongs to \(name). Leave one of them out.")
    }

    private func retrieveEntity(_ request: OrganizationRequest) throws(FieldsealError) -> OrganizationResponse {
        try request.take("EntityFilters", "MetadataId", "RetrieveAsIfPublished", "LogicalName")
        let value = MetadataParts.entity(try entity(request, "LogicalName"), try filters(request))
        var response = OrganizationResponse(request.name)
        response.records = Self.size(value)
        response.add("EntityMetadata", type: XMLName(Contract.metadata, "EntityMetadata")) {
            MetadataWriter.entity(value, to: &$0)
        }
        return response
    }

    private func retrieveAllEntities(_ request: OrganizationRequest) throws(FieldsealError) -> OrganizationResponse {
        try request.take("EntityFilters", "RetrieveAsIfPublished")
        let filters = try filters(request)
        var response = OrganizationResponse(request.name)
        response.records = EntityCatalog.all.reduce(0) { $0 + Self.size(MetadataParts.entity($1, filters)) }
        response.add("EntityMetadata", type: XMLName(Contract.metadata, "ArrayOfEntityMetadata")) { writer in
            for entity in EntityCatalog.all {
                writer.element("EntityMetadata", Contract.metadata) {
                    MetadataWriter.entity(MetadataParts.entity(entity, filters), to: &$0)
                }
            }
        }
        response.add("Timestamp", MetadataStamp.current)
        return response
    }

    private func retrieveAttribute(_ request: OrganizationRequest) throws(FieldsealError) -> OrganizationResponse {
        try request.take("MetadataId", "RetrieveAsIfPublished", "EntityLogicalName", "LogicalName", "ColumnNumber")
        let (entity, attribute) = try self.attribute(request)
        let value = MetadataParts.attribute(attribute, of: entity)
        var response = OrganizationResponse(request.name)
        response.add("AttributeMetadata", type: MetadataWriter.attributeType(value), declaring: [Contract.metadata]) {
            MetadataWriter.attribute(value, to: &$0)
        }
        return response
    }

    private func attribute(_ request: OrganizationRequest) throws(FieldsealError) -> (EntityDefinition, AttributeDefinition) {
        if let id = try request.id("MetadataId") {
            for entity in EntityCatalog.all {
                for attribute in entity.attributes
                where MetadataJSON.id("attribute", "\(entity.logicalName).\(attribute.logicalName)") == id.text {
                    try check(request, "EntityLogicalName", entity.logicalName)
                    try check(request, "LogicalName", attribute.logicalName)
                    return (entity, attribute)
                }
            }
            throw FieldsealError(.objectDoesNotExist, "There is no attribute with this MetadataId.")
        }
        let entity = try entity(request, "EntityLogicalName")
        let name = try request.text("LogicalName") ?? ""
        guard let attribute = entity[name.lowercased()] else {
            throw FieldsealError(.noSuchAttribute, "\(entity.logicalName) has no attribute \(name.quotedForFault).")
        }
        return (entity, attribute)
    }

    // MARK: Queries of metadata

    private func retrieveMetadataChanges(_ request: OrganizationRequest) throws(FieldsealError) -> OrganizationResponse {
        try request.take("Query", "ClientVersionStamp", "DeletedMetadataFilters", "RetrieveAllSettings")
        guard let element = request.element("Query") else { throw request.mismatch("Query", "an EntityQueryExpression") }
        let query = try MetadataQuery(element)
        let isKnown = try MetadataStamp.isCurrent(.text(try request.text("ClientVersionStamp")))
        var found: [JSONValue] = []
        for entity in isKnown ? [] : EntityCatalog.all {
            if let value = try query.selected(entity) { found.append(value) }
        }
        var response = OrganizationResponse(request.name)
        response.records = found.reduce(0) { $0 + Self.size($1) }
        response.add(
            "EntityMetadata", type: XMLName(Contract.xrm, "EntityMetadataCollection"), declaring: [Contract.metadata]
        ) { [found] writer in
            for value in found {
                writer.element("EntityMetadata", Contract.xrm) { MetadataWriter.entity(value, to: &$0) }
            }
        }
        response.add("ServerVersionStamp", MetadataStamp.current)
        return response
    }
}
