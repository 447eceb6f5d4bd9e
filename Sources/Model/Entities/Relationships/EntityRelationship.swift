/// A one-to-many relationship, defined by a lookup attribute.
package struct EntityRelationship: Sendable {
    /// The entity with the lookup attribute ("many").
    package let referencing: EntityDefinition
    package let attribute: AttributeDefinition
    /// The entity that it refers to ("one").
    package let referenced: EntityDefinition

    /// The unique name in its original case.
    package let schemaName: String

    /// The single-valued navigation property, such as `emailserverprofile`. It includes the target's name if there are several.
    package var navigationProperty: String {
        attribute.type.isPolymorphic ? "\(attribute.logicalName)_\(referenced.logicalName)" : attribute.logicalName
    }

    /// The collection-valued navigation property at the other end.
    package var collectionProperty: String { schemaName.lowercased() }

    package init(_ referencing: EntityDefinition, _ attribute: AttributeDefinition, _ referenced: EntityDefinition) {
        self.referencing = referencing
        self.attribute = attribute
        self.referenced = referenced
        let entity = referencing.schemaName
        schemaName =
            switch attribute.logicalName {
            case "activityid" where referencing.logicalName == "activityparty": "\(referenced.logicalName)_activity_parties"
            case "objectid" where referencing.logicalName == "activitymimeattachment": "email_activity_mime_attachment"
            case "createdby", "createdonbehalfby", "modifiedby", "modifiedonbehalfby":
                "lk_\(entity)_\(attribute.logicalName)"
            case "owninguser": "user_\(entity)"
            case "owningteam": "team_\(entity)"
            case "owningbusinessunit": "business_unit_\(entity)"
            case "ownerid": "owner_\(entity)_\(referenced.logicalName)"
            default:
                attribute.logicalName == referenced.primaryID || attribute.logicalName == referenced.logicalName
                    ? "\(referenced.schemaName)_\(entity)"
                    : "\(referenced.schemaName)_\(entity)_\(attribute.schemaName)"
            }
    }
}

extension AttributeType {
    /// Whether its navigation properties are named after their targets. That is so for several targets, except owners.
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

extension EntityDefinition {
    /// The relationships of its own lookups.
    package var manyToOne: [EntityRelationship] { EntityCatalog.relationships.filter { $0.referencing.logicalName == logicalName } }

    /// The relationships of other entities' lookups that refer to it.
    package var oneToMany: [EntityRelationship] { EntityCatalog.relationships.filter { $0.referenced.logicalName == logicalName } }

    /// The relationship of a single-valued navigation property. An owner's first target is the systemuser.
    package func singleValued(_ property: String) -> EntityRelationship? {
        manyToOne.first { $0.navigationProperty == property.lowercased() }
    }

    /// The relationship of a collection-valued navigation property.
    package func collectionValued(_ property: String) -> EntityRelationship? {
        oneToMany.first { $0.collectionProperty == property.lowercased() }
    }

    /// Whether users and teams own its records.
    package var isUserOwned: Bool { self["ownerid"] != nil }

    /// The attributes that identify a record beside its id.
    package var alternateKeys: [AttributeDefinition] {
        switch logicalName {
        case "systemuser": [self["domainname"]].compactMap { $0 }
        case "queue", "emailserverprofile": [self["name"]].compactMap { $0 }
        default: []
        }
    }
}
