/// A one-to-many relationship, defined by a lookup attribute.
package struct EntityRelationship: Sendable {
    /// The entity with the lookup attribute ("many").
    package let referencing: EntityDefinition
    package let attribute: AttributeDefinition
    /// The entity that is referred to ("one").
    package let referenced: EntityDefinition

    /// The unique name in its original case.
    package let schemaName: String
    /// The single-valued navigation property, such as `emailserverprofile`.
    package let navigationProperty: String
    /// The collection-valued navigation property at the other end. For an owner, the property has the same name on users and on
    /// teams.
    package let collectionProperty: String
    /// Every name that a request may give ``navigationProperty`` and ``collectionProperty``, in lower case.
    fileprivate let singleNames: Set<String>
    fileprivate let collectionNames: Set<String>

    package init(_ referencing: EntityDefinition, _ attribute: AttributeDefinition, _ referenced: EntityDefinition) {
        self.referencing = referencing
        self.attribute = attribute
        self.referenced = referenced
        let names = RelationshipNames(referencing, attribute, referenced)
        schemaName = names.schema
        navigationProperty = names.single
        collectionProperty = names.collection
        singleNames = Set(([names.single] + names.otherSingle).map { $0.lowercased() })
        collectionNames = Set(([names.collection] + names.otherCollection).map { $0.lowercased() })
    }

    /// Whether the lookup is an owner. Then users and teams have collections of the same name.
    package var isOfOwner: Bool { if case .owner = attribute.type { true } else { false } }

    /// What happens to the records with the lookup when the record that it refers to is deleted, in the words of the metadata.
    package enum Deletion: String, Sendable {
        /// The records are deleted too.
        case cascade = "Cascade"
        /// A record can't be deleted while other records refer to it.
        case restrict = "Restrict"
        /// The lookups become null.
        case removeLink = "RemoveLink"
        /// The lookups keep the id of the deleted record.
        case none = "NoCascade"
    }

    /// What a delete of the record at the "one" end does.
    package var deletion: Deletion {
        switch (referencing.logicalName, attribute.logicalName, referenced.logicalName) {
        case (_, "activityid", "email"), (_, "objectid", "email"): .cascade
        case (_, "ownerid", "team"), (_, "owningteam", "team"): .restrict
        case ("mailbox", "emailserverprofile", _), ("queue", "defaultmailbox", _), ("email", "receivingmailboxid", _): .removeLink
        default: .none
        }
    }

    /// Whether a request that names a relationship means this one: by its schema name or another of its names.
    package func isNamed(_ name: String) -> Bool {
        name.lowercased() == schemaName.lowercased() || collectionNames.contains(name.lowercased())
    }
}

extension AttributeType {
    /// Whether a lookup has one navigation property for each target, named after the target. That is so for lookups with
    /// several targets, except owners.
    package var isPolymorphic: Bool { if case .lookup(let targets) = self { targets.count > 1 } else { false } }
}

extension EntityCatalog {
    /// Every relationship between entities of the catalog, in the order of the entities and their attributes.
    package static let relationships: [EntityRelationship] = all.flatMap { entity in
        entity.attributes.flatMap { attribute in
            attribute.type.targets.compactMap { EntityCatalog.entity($0) }.map { EntityRelationship(entity, attribute, $0) }
        }
    }
}

extension EntityCatalog {
    /// The relationships of every entity's single-valued navigation properties, by entity and name.
    fileprivate static let single: [String: [String: [EntityRelationship]]] = relationships.reduce(into: [:]) {
        found, relationship in
        for name in relationship.singleNames {
            found[relationship.referencing.logicalName, default: [:]][name, default: []].append(relationship)
        }
    }

    /// The relationship of every entity's collection-valued navigation properties, by entity and name.
    fileprivate static let collections: [String: [String: EntityRelationship]] = relationships.reduce(into: [:]) {
        found, relationship in
        for name in relationship.collectionNames { found[relationship.referenced.logicalName, default: [:]][name] = relationship }
    }
}

extension EntityDefinition {
    /// The relationships of this entity's lookups.
    package var manyToOne: [EntityRelationship] { EntityCatalog.relationships.filter { $0.referencing.logicalName == logicalName } }

    /// The relationships of other entities' lookups that refer to this entity.
    package var oneToMany: [EntityRelationship] { EntityCatalog.relationships.filter { $0.referenced.logicalName == logicalName } }

    /// The relationships of a single-valued navigation property: two for an owner, which is a user or a team, and one for any other
    /// lookup.
    package func singleValued(all property: String) -> [EntityRelationship] {
        EntityCatalog.single[logicalName]?[property.lowercased()] ?? []
    }

    /// The relationship of a single-valued navigation property. For an owner it is the one with users.
    package func singleValued(_ property: String) -> EntityRelationship? { singleValued(all: property).first }

    /// The relationship of a collection-valued navigation property.
    package func collectionValued(_ property: String) -> EntityRelationship? {
        EntityCatalog.collections[logicalName]?[property.lowercased()]
    }

    /// The single-valued navigation property by which a lookup refers to records of an entity.
    package func navigationProperty(of attribute: AttributeDefinition, to target: String) -> String {
        let plain = attribute.type.isPolymorphic ? "\(attribute.logicalName)_\(target)" : attribute.logicalName
        return singleValued(all: plain).first { $0.referenced.logicalName == target }?.navigationProperty ?? plain
    }

    /// The single-valued navigation properties of a lookup, without repetition.
    package func navigationProperties(of attribute: AttributeDefinition) -> [String] {
        manyToOne.filter { $0.attribute === attribute }.reduce(into: []) { names, relationship in
            if !names.contains(relationship.navigationProperty) { names.append(relationship.navigationProperty) }
        }
    }

    /// Whether users and teams own the entity's records.
    package var isUserOwned: Bool { if case .owner? = self["ownerid"]?.type { true } else { false } }

    /// Whether the entity's records can own records of other entities. True for users and teams.
    package var isPrincipal: Bool { AttributeType.owner.targets.contains(logicalName) }

    /// Whether an attribute holds the id of the record itself. For users and teams, `ownerid` does too.
    package func isID(_ attribute: AttributeDefinition) -> Bool { attribute.column == idColumn }

    /// Whether the attribute with this logical name holds the id of the record itself.
    package func isID(_ logicalName: String) -> Bool { self[logicalName].map(isID) ?? false }

    /// The attributes that identify a record in addition to its id.
    package var alternateKeys: [AttributeDefinition] {
        switch logicalName {
        case "systemuser": [self["domainname"]].compactMap { $0 }
        case "queue", "emailserverprofile": [self["name"]].compactMap { $0 }
        default: []
        }
    }
}
