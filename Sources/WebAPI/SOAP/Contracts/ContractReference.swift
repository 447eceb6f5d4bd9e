import Foundation
import JSON
import Model
import Records

/// A reference to a record by its id or an alternate key.
struct ContractReference: Sendable {
    let entity: EntityDefinition
    let id: UUID?
    let keys: [(name: String, value: Literal)]
    let rowVersion: String?
    /// The name of the record, as a client retrieved it. The service does not identify a record by this name.
    let name: String?

    init(_ entity: EntityDefinition, id: UUID) {
        self.entity = entity
        self.id = id
        keys = []
        rowVersion = nil
        name = nil
    }

    /// - Throws: ``FieldsealError`` for an unknown entity, and for a malformed id or key.
    init(_ element: XMLElement) throws(FieldsealError) {
        let members = try ContractMembers(
            element, of: "EntityReference", ["Id", "KeyAttributes", "LogicalName", "Name", "RowVersion"])
        self.name = members.text("Name")
        guard let name = members.text("LogicalName")?.lowercased(),
            // In this service, every activity is an e-mail.
            let entity = name == "activitypointer" ? .email : EntityCatalog.entity(name)
        else { throw Self.unknown(members.text("LogicalName")) }
        self.entity = entity
        id = try Self.id(members)
        keys = try Self.keys(members["KeyAttributes"], of: entity)
        rowVersion = members.text("RowVersion")
    }

    static func unknown(_ name: String?) -> FieldsealError {
        guard let name else { return FieldsealError(.payloadDoesNotFit, "A record is named without its LogicalName.") }
        return FieldsealError(.payloadDoesNotFit, "There is no entity \(name.quotedForFault).")
    }

    /// The id in `Id`; nil for none, and for the empty id.
    static func id(_ members: ContractMembers) throws(FieldsealError) -> UUID? {
        guard let text = members.text("Id"), !text.isEmpty else { return nil }
        guard let id = UUID(clientText: String(text.trimmed)) else { throw members.mismatch("Id", "a guid") }
        return id.unlessEmpty
    }

    static func keys(_ element: XMLElement?, of entity: EntityDefinition) throws(FieldsealError) -> [(name: String, value: Literal)]
    {
        var keys: [(name: String, value: Literal)] = []
        for (name, value) in try ContractPairs.read(element, "KeyAttributes") {
            guard entity[name.lowercased()] != nil else {
                throw FieldsealError(.queryDoesNotFit, "\(entity.logicalName) has no key attribute \(name.quotedForFault).")
            }
            guard let literal = try ContractValue(value, of: name).literal else {
                throw FieldsealError(
                    .payloadDoesNotFit, "The key attribute \(name.quotedForFault) takes a string, a number or a guid.")
            }
            keys.append((name.lowercased(), literal))
        }
        return keys
    }

    /// - Throws: ``FieldsealError`` if the reference names no record.
    func key() throws(FieldsealError) -> RecordKey {
        if let id { return RecordKey(id, keys, of: entity) }
        guard !keys.isEmpty else {
            throw FieldsealError(
                .payloadDoesNotFit, "A reference to \(entity.withArticle) has neither an Id nor KeyAttributes.")
        }
        return .alternate(keys)
    }

    /// Refuses a reference to a record of an entity that a lookup does not refer to.
    ///
    /// - Parameter lookup: The lookup's name, for the error text.
    func require(oneOf targets: [String], in lookup: String) throws(FieldsealError) {
        // If this service has none of the entities that the lookup refers to, a later check refuses every value of the lookup.
        guard !targets.contains(entity.logicalName), targets.contains(where: { EntityCatalog.entity($0) != nil }) else { return }
        throw FieldsealError(
            .payloadDoesNotFit,
            "\(lookup) refers to a record of \(targets.joined(separator: " or ")), and this is a reference to \(entity.withArticle)."
        )
    }

    /// The record's address, in the form that writes accept.
    func address() throws(FieldsealError) -> String {
        try key().address(in: entity)
    }
}

extension RecordKey {
    /// The key of a record by its id and, if `keys` are given, by an alternate key too. Both keys must belong to the same record.
    init(_ id: UUID, _ keys: [(name: String, value: Literal)], of entity: EntityDefinition) {
        self = keys.isEmpty ? .id(id) : .alternate([(entity.primaryID, .text(id.text))] + keys)
    }
}
