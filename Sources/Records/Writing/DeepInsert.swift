package import Foundation
package import JSON
package import Model

/// A new record with related records nested in it (OData 4.0 Part 1, sections 11.4.2.1 and 11.4.2.2).
///
/// An object under a single-valued navigation property becomes a record before the record that refers to it. Objects under a
/// collection-valued property become records after the record that they refer to. Records in `collection@odata.bind` are updated to
/// refer to the new record.
package struct DeepInsert: Sendable {
    /// The writes, in the order in which they are done.
    package private(set) var writes: [RecordWrite] = []
    /// The index of the outermost record's write.
    package private(set) var main = 0
    /// The id of the outermost record.
    package let id: UUID

    private let limit: Int
    private static let depthLimit = 8
    private static let linkLimit = 1_000

    /// - Parameter limit: How many writes are allowed.
    /// - Throws: ``FieldsealError`` naming the invalid member.
    package init(_ entity: EntityDefinition, _ members: [JSONValue.Member], limit: Int) throws(FieldsealError) {
        self.limit = limit
        id = Self.id(entity, members)
        main = try add(entity, id, members, depth: 1)
    }

    private static func id(_ entity: EntityDefinition, _ members: [JSONValue.Member]) -> UUID {
        entity.id(in: members) ?? UUID.timeOrdered()
    }

    /// Adds the writes of a record and of the records nested in it.
    ///
    /// - Returns: The index of the record's own write.
    private mutating func add(_ entity: EntityDefinition, _ id: UUID, _ members: [JSONValue.Member], depth: Int)
        throws(FieldsealError) -> Int
    {
        guard depth <= Self.depthLimit else {
            throw FieldsealError(.payloadDoesNotFit, "Related records may be nested at most \(Self.depthLimit) levels deep.")
        }
        var own: [JSONValue.Member] = []
        var after: [(relationship: EntityRelationship, values: [JSONValue], areAddresses: Bool)] = []
        var links: [(association: Association, others: [UUID])] = []
        for member in members {
            let bound = member.name.strippingSuffix("@odata.bind")
            if let association = entity.association(bound ?? member.name) {
                links.append((association, try Self.linked(member, bound != nil, association)))
                continue
            }
            let collection = Self.isOwn(member.name, of: entity) ? nil : entity.collectionValued(bound ?? member.name)
            switch member.value {
            case .object(let inner):
                guard bound == nil, let relationship = entity.singleValued(member.name) else { return try refuse(entity, member) }
                try ParsedValues.requireWritable(relationship.attribute)
                if let address = try Self.address(in: inner, member.name, relationship.referenced) {
                    own.append(.init("\(relationship.navigationProperty)@odata.bind", address))
                    continue
                }
                let target = Self.id(relationship.referenced, inner)
                _ = try add(relationship.referenced, target, inner, depth: depth + 1)
                own.append(.init("\(relationship.navigationProperty)@odata.bind", .address(relationship.referenced, target)))
            case .array(let values):
                if let collection {
                    after.append((collection, values, bound != nil))
                } else {
                    own.append(member)
                }
            default: own.append(member)
            }
        }
        try append(.create(entity, id: id, own))
        let place = writes.count - 1
        for (association, others) in links where !others.isEmpty {
            try append(.message(entity, id, .associate(association, others, areLinked: true)))
        }
        for (relationship, values, areAddresses) in after {
            try ParsedValues.requireWritable(relationship.attribute)
            for value in values {
                if areAddresses {
                    try bind(value, relationship, to: id)
                } else if case .object(let inner) = value,
                    let address = try Self.address(in: inner, relationship.collectionProperty, relationship.referencing)
                {
                    try bind(address, relationship, to: id)
                } else {
                    try add(value, relationship, to: id, depth: depth + 1)
                }
            }
        }
        return place
    }

    /// The address in an object that refers to a record (OData JSON Format 4.01, section 8.5); nil for the values of a new record.
    ///
    /// - Throws: ``FieldsealError`` if the object has both an address and values, because one of the two would be lost, or if
    ///   the address is not text.
    private static func address(
        in object: [JSONValue.Member], _ property: String, _ entity: EntityDefinition
    ) throws(FieldsealError) -> JSONValue? {
        guard let address = object.first(where: { $0.name == "@odata.id" })?.value else { return nil }
        guard object.allSatisfy({ $0.name.hasPrefix("@") }) else {
            throw FieldsealError(
                .payloadDoesNotFit,
                "\(property.quotedForMessage) has both @odata.id, the address of a record, and other values. To create a new "
                    + "record, leave @odata.id out. To refer to an existing record, send only @odata.id."
            )
        }
        guard case .string = address else {
            throw FieldsealError(.payloadDoesNotFit, "@odata.id in \(property.quotedForMessage) takes the address of a record.")
        }
        try ParsedValues.require(type: object.first { $0.name == "@odata.type" }?.value, of: [entity.logicalName])
        return address
    }

    /// The ids of the records that `association@odata.bind` names.
    private static func linked(_ member: JSONValue.Member, _ isBound: Bool, _ association: Association) throws(FieldsealError)
        -> [UUID]
    {
        let set = association.other.entitySetName
        let refusal = FieldsealError(
            .payloadDoesNotFit,
            "\(association.navigationProperty)@odata.bind takes a list of addresses of records by their ids, such as /\(set)(ID).")
        guard isBound, case .array(let values) = member.value, values.count <= linkLimit else { throw refusal }
        var ids: [UUID] = []
        for value in values {
            guard case .string(let address) = value, let (target, key) = try ParsedValues.reference(address),
                target === association.other, case .id(let id) = key
            else { throw refusal }
            ids.append(id)
        }
        return ids
    }

    /// Whether a member is a list that is a part of the record itself, and is written with it.
    private static func isOwn(_ name: String, of entity: EntityDefinition) -> Bool {
        entity.logicalName == EntityDefinition.email.logicalName
            && ["email_activity_parties", "email_activity_mime_attachment"].contains(name.lowercased())
    }

    private mutating func add(_ value: JSONValue, _ relationship: EntityRelationship, to parent: UUID, depth: Int)
        throws(FieldsealError)
    {
        guard case .object(let inner) = value else {
            throw FieldsealError(.payloadDoesNotFit, "\(relationship.collectionProperty) takes a list of new records, as objects.")
        }
        let entity = relationship.referencing
        let bind = JSONValue.Member(
            "\(relationship.navigationProperty)@odata.bind", .address(relationship.referenced, parent))
        guard !inner.contains(where: { $0.name.lowercased() == bind.name.lowercased() }) else {
            throw FieldsealError(.payloadDoesNotFit, "\(bind.name) of a nested record is the record around it. Leave it out.")
        }
        _ = try add(entity, Self.id(entity, inner), inner + [bind], depth: depth)
    }

    private mutating func bind(_ value: JSONValue, _ relationship: EntityRelationship, to parent: UUID) throws(FieldsealError) {
        guard case .string(let address) = value, let (target, key) = try ParsedValues.reference(address),
            target.logicalName == relationship.referencing.logicalName
        else {
            let set = relationship.referencing.entitySetName
            throw FieldsealError(
                .payloadDoesNotFit, "\(relationship.collectionProperty)@odata.bind takes addresses of records, such as /\(set)(ID)."
            )
        }
        let bind = JSONValue.Member(
            "\(relationship.navigationProperty)@odata.bind", .address(relationship.referenced, parent))
        try append(.upsert(target, key, [bind], .mustExist))
    }

    private mutating func append(_ write: RecordWrite) throws(FieldsealError) {
        guard writes.count < limit else {
            throw FieldsealError(.payloadDoesNotFit, "A record and its related records may be at most \(limit) records.")
        }
        writes.append(write)
    }

    private func refuse(_ entity: EntityDefinition, _ member: JSONValue.Member) throws(FieldsealError) -> Int {
        throw FieldsealError(
            .payloadDoesNotFit,
            "\(entity.logicalName) takes no object under \(member.name.quotedForMessage): it is not a single-valued navigation property."
        )
    }
}

extension JSONValue {
    fileprivate static func address(_ entity: EntityDefinition, _ id: UUID) -> JSONValue {
        .string("/\(entity.entitySetName)(\(id.text))")
    }
}
