import JSON
import Model

extension MetadataJSON {
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
