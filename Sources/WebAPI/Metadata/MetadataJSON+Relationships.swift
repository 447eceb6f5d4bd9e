import JSON
import Model

extension MetadataJSON {
    /// A one-to-many relationship.
    static func relationship(_ relationship: EntityRelationship) -> JSONValue {
        [
            "@odata.type": "#Microsoft.Dynamics.CRM.OneToManyRelationshipMetadata",
            "MetadataId": .string(id("relationship", "\(relationship.schemaName).\(relationship.referenced.logicalName)")),
            "HasChanged": nil,
            "SchemaName": .string(relationship.schemaName),
            "RelationshipType": "OneToManyRelationship",
            "SecurityTypes": "None",
            "IntroducedVersion": introducedVersion,
            "ReferencedEntity": .string(relationship.referenced.logicalName),
            "ReferencedAttribute": .string(relationship.referenced.primaryID),
            "ReferencingEntity": .string(relationship.referencing.logicalName),
            "ReferencingAttribute": .string(relationship.attribute.logicalName),
            "ReferencingEntityNavigationPropertyName": .string(relationship.navigationProperty),
            "ReferencedEntityNavigationPropertyName": .string(relationship.collectionProperty),
            "IsCustomRelationship": false,
            "IsManaged": true,
            "IsValidForAdvancedFind": true,
            "IsCustomizable": managed(false, "iscustomizable"),
            "AssociatedMenuConfiguration": nil,
            "CascadeConfiguration": cascade(relationship),
            "DenormalizedAttributeName": nil,
            "EntityKey": nil,
            "IsDenormalizedLookup": false,
            "IsHierarchical": .bool(
                relationship.referenced.logicalName == relationship.referencing.logicalName
                    && relationship.attribute.logicalName == relationship.referencing.parentAttribute),
            "IsRelationshipAttributeDenormalized": false,
            "RelationshipAttributes": nil,
            "RelationshipBehavior": nil,
        ]
    }

    private static func cascade(_ relationship: EntityRelationship) -> JSONValue {
        [
            "Assign": "NoCascade", "Delete": .string(relationship.deletion.rawValue), "Merge": "NoCascade", "Reparent": "NoCascade",
            "RollupView": "NoCascade", "Share": "NoCascade", "Unshare": "NoCascade",
        ]
    }

    /// A many-to-many relationship.
    static func relationship(_ relationship: ManyToManyRelationship) -> JSONValue {
        [
            "@odata.type": "#Microsoft.Dynamics.CRM.ManyToManyRelationshipMetadata",
            "MetadataId": .string(id("relationship", relationship.schemaName)),
            "HasChanged": nil,
            "SchemaName": .string(relationship.schemaName),
            "RelationshipType": "ManyToManyRelationship",
            "SecurityTypes": "None",
            "IntroducedVersion": "9.2.0.0",
            "IsCustomRelationship": false,
            "IsManaged": true,
            "IsValidForAdvancedFind": true,
            "IsCustomizable": managed(false, "iscustomizable"),
            "Entity1LogicalName": .string(relationship.first.logicalName),
            "Entity1IntersectAttribute": .string(relationship.first.primaryID),
            "Entity1NavigationPropertyName": .string(relationship.schemaName),
            "Entity1AssociatedMenuConfiguration": nil,
            "Entity2LogicalName": .string(relationship.second.logicalName),
            "Entity2IntersectAttribute": .string(relationship.second.primaryID),
            "Entity2NavigationPropertyName": .string(relationship.schemaName),
            "Entity2AssociatedMenuConfiguration": nil,
            "IntersectEntityName": .string(relationship.intersect.logicalName),
        ]
    }
}
