import Foundation
import JSON
import Model
import Records

/// A request to associate a record with other records, or to disassociate it from them.
struct LinkRequest {
    let target: ContractReference
    let related: [ContractReference]
    private let relationship: String
    private let role: String?

    init(target: ContractReference, relationship: XMLElement, related: [ContractReference]) throws(FieldsealError) {
        let members = try ContractMembers(relationship, of: "Relationship", ["SchemaName", "PrimaryEntityRole"])
        self.target = target
        self.related = related
        self.relationship = try members.required("SchemaName").text
        role = members.text("PrimaryEntityRole")
        guard (1...APILimits.bulkCount).contains(related.count) else {
            throw FieldsealError(.payloadDoesNotFit, "RelatedEntities takes 1 to \(APILimits.bulkCount) records.")
        }
    }

    init(_ request: OrganizationRequest) throws(FieldsealError) {
        try request.take("Target", "Relationship", "RelatedEntities")
        guard let relationship = request.element("Relationship") else { throw request.mismatch("Relationship", "a Relationship") }
        try self.init(
            target: try request.reference("Target"), relationship: relationship, related: try request.references("RelatedEntities"))
    }

    /// The many-to-many relationship, seen from the target; nil for another kind of relationship.
    func association() throws(FieldsealError) -> Association? {
        guard let named = EntityCatalog.manyToMany.first(where: { $0.schemaName == relationship.lowercased() }) else { return nil }
        guard let association = named.association(of: target.entity), related.allSatisfy({ $0.entity === association.other }) else {
            throw unfit
        }
        return association
    }

    /// For each link of a one-to-many relationship: the record with the lookup (`many`), and the record that the lookup refers to
    /// (`one`).
    func lookups() throws(FieldsealError) -> [(relationship: EntityRelationship, many: ContractReference, one: ContractReference)] {
        let named = EntityCatalog.relationships.filter { $0.isNamed(relationship) }
        guard !named.isEmpty else {
            throw FieldsealError(.payloadDoesNotFit, "There is no relationship \(relationship.quotedForFault).")
        }
        let isSelf = target.entity === related[0].entity
        guard !isSelf || role == "Referencing" || role == "Referenced" else {
            throw FieldsealError(
                .payloadDoesNotFit,
                "The relationship is between records of one entity, so PrimaryEntityRole must say whether the target is "
                    + "Referencing or Referenced.")
        }
        if !isSelf || role == "Referenced",
            let found = named.first(where: { link in
                link.referenced === target.entity && related.allSatisfy { $0.entity === link.referencing }
            })
        {
            return related.map { (found, $0, target) }
        }
        if !isSelf || role == "Referencing", related.count == 1,
            let found = named.first(where: { $0.referencing === target.entity && $0.referenced === related[0].entity })
        {
            return [(found, target, related[0])]
        }
        throw unfit
    }

    private var unfit: FieldsealError {
        FieldsealError(
            .payloadDoesNotFit, "The relationship \(relationship.quotedForFault) does not link the records of the request.")
    }
}

extension OrganizationService {
    /// Links records, or removes the links. Either all links are changed, or none is.
    func link(_ request: LinkRequest, isRemoved: Bool) async throws {
        if let association = try request.association() {
            var others: [UUID] = []
            for other in request.related { others.append(try await id(of: other)) }
            let message = RecordMessage.associate(association, others, areLinked: !isRemoved)
            _ = try await session.write(.message(association.own, try await id(of: request.target), message))
            return
        }
        var writes: [RecordWrite] = []
        for (relationship, many, one) in try request.lookups() {
            try ParsedValues.requireWritable(relationship.attribute)
            let property = "\(relationship.navigationProperty)@odata.bind"
            let value: JSONValue = isRemoved ? .null : .string(try one.address())
            let condition: WriteCondition =
                isRemoved ? .refersTo(relationship.attribute.logicalName, try await id(of: one)) : .mustExist
            writes.append(.upsert(many.entity, try many.key(), [.init(property, value)], condition))
        }
        _ = try await session.write(writes)
    }

    /// The id of a record that is named by its id or by an alternate key.
    func id(of reference: ContractReference) async throws -> UUID {
        if let id = reference.id, reference.keys.isEmpty { return id }
        let page = try await session.retrieve(
            reference.entity, try reference.key(), [.init(.column(.init(reference.entity.primaryID)))])
        guard let record = page.records.first else { throw FieldsealError.noSuchRecord(reference.entity) }
        return record.id
    }
}
