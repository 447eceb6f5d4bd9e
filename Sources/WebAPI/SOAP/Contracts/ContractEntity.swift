import Foundation
import JSON
import Model
import Records

/// A record in a request: its key, and the values of its attributes.
struct ContractEntity: Sendable {
    let entity: EntityDefinition
    let id: UUID?
    let keys: [(name: String, value: Literal)]
    let rowVersion: String?
    let attributes: [(name: String, value: ContractValue)]
    /// Whether the request's record has members that only a retrieved record has: a version, or formatted values.
    let isRetrieved: Bool

    init(_ element: XMLElement) throws(FieldsealError) {
        // Clients may send a record back as they received it, with the members of a response.
        let members = try ContractMembers(
            element, of: "Entity",
            ["Attributes", "FormattedValues", "Id", "KeyAttributes", "LogicalName", "RelatedEntities", "RowVersion"],
            ignoring: ["EntityState"])
        guard let name = members.text("LogicalName"), let entity = EntityCatalog.entity(name.lowercased()) else {
            throw ContractReference.unknown(members.text("LogicalName"))
        }
        guard !(members["RelatedEntities"]?.hasChildren ?? false) else {
            throw FieldsealError(
                .payloadDoesNotFit, "An Entity has RelatedEntities. Related records are created with separate requests.")
        }
        self.entity = entity
        id = try ContractReference.id(members)
        keys = try ContractReference.keys(members["KeyAttributes"], of: entity)
        rowVersion = members.text("RowVersion")
        isRetrieved = rowVersion.map { !$0.isEmpty } ?? false || members["FormattedValues"]?.hasChildren ?? false
        var attributes: [(name: String, value: ContractValue)] = []
        for (name, value) in try ContractPairs.read(members["Attributes"], "Attributes") {
            attributes.append((name.lowercased(), try ContractValue(value, of: name)))
        }
        self.attributes = attributes
    }

    /// The records of an `EntityCollection`.
    static func collection(_ element: XMLElement) throws(FieldsealError) -> [ContractEntity] {
        let members = try ContractMembers(
            element, of: "EntityCollection", ["Entities", "EntityName"],
            ignoring: [
                "MinActiveRowVersion", "MoreRecords", "PagingCookie", "TotalRecordCount",
                "TotalRecordCountLimitExceeded",
            ])
        var entities: [ContractEntity] = []
        for child in members["Entities"]?.children ?? .empty { entities.append(try ContractEntity(child)) }
        if let name = members.text("EntityName"), !name.isEmpty,
            let other = entities.first(where: { $0.entity.logicalName != name.lowercased() })
        {
            throw FieldsealError(
                .payloadDoesNotFit,
                "EntityName of an EntityCollection is \(name.quotedForFault), and the collection holds \(other.entity.withArticle)."
            )
        }
        return entities
    }

    /// The id among the attributes, or in `Id`.
    ///
    /// - Throws: ``FieldsealError`` if the two differ.
    func recordID() throws(FieldsealError) -> UUID? {
        var found = id
        for attribute in attributes where entity.isID(attribute.name) {
            let named: UUID? =
                switch attribute.value {
                case .id(let id): id.unlessEmpty
                case .text(let text): UUID(clientText: text)?.unlessEmpty
                default: nil
                }
            guard found == nil || named == nil || found == named else {
                throw FieldsealError(
                    .payloadDoesNotFit, "Id of an Entity and its attribute \(attribute.name) are two different ids.")
            }
            found = found ?? named
        }
        return found
    }

    /// The key of the record: its id, or an alternate key.
    func key() throws(FieldsealError) -> RecordKey {
        if let id = try recordID() { return RecordKey(id, keys, of: entity) }
        guard !keys.isEmpty else {
            throw FieldsealError(.payloadDoesNotFit, "A \(entity.logicalName) has neither an Id nor KeyAttributes.")
        }
        return .alternate(keys)
    }

    /// The values in the form that writes accept.
    func members() throws(FieldsealError) -> [JSONValue.Member] {
        var members: [JSONValue.Member] = []
        var parties = PartyLists()
        let email = try recordID()
        if isRetrieved { members.append(.init(ParsedValues.retrieved, .bool(true))) }
        for (name, value) in attributes where !entity.isID(name) {
            if entity.logicalName == EntityDefinition.email.logicalName, try parties.take(name, value, of: email) { continue }
            members.append(try Self.member(name, value, entity))
        }
        return members + parties.members
    }

    private static func member(_ name: String, _ value: ContractValue, _ entity: EntityDefinition) throws(FieldsealError)
        -> JSONValue.Member
    {
        // Names that only the Web API has, such as NAME@odata.bind, are not attributes.
        guard let type = entity[name]?.type else {
            throw FieldsealError(.payloadDoesNotFit, "\(entity.logicalName) has no attribute \(name.quotedForFault).")
        }
        if let expectation = type.expectation(unmetBy: value) {
            throw FieldsealError(.payloadDoesNotFit, "\(name) takes \(expectation), not \(value.kind).")
        }
        switch value {
        case .null: return .init(name, .null)
        case .bool(let flag): return .init(name, .bool(flag))
        case .integer(let number): return .init(name, .integer(number))
        case .number(let text): return .init(name, .number(text))
        case .text(let text), .date(let text), .bytes(let text): return .init(name, .string(text))
        case .id(let id): return .init(name, .string(id.text))
        case .option(let number): return .init(name, .integer(number))
        case .reference(let reference):
            try reference.require(oneOf: type.targets, in: name)
            let property = entity[name].map { entity.navigationProperty(of: $0, to: reference.entity.logicalName) } ?? name
            return .init("\(property)@odata.bind", .string(try reference.address()))
        case .entities, .list, .other:
            throw FieldsealError(.payloadDoesNotFit, "\(name) takes a value of its own type, not \(value.kind).")
        }
    }
}
