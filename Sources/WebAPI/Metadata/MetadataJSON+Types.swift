import JSON
import Model

// The metadata of one type of attribute beside that of all attributes. What this service does not have is null.
extension MetadataJSON {
    static func typeMembers(of attribute: AttributeDefinition) -> [JSONValue.Member] {
        let type = attribute.type
        let value = attribute.initialOption.map { AttributeValue.int($0) } ?? attribute.defaultValue
        var members: [JSONValue.Member] =
            switch type {
            case .string(let length): text(length)
            case .memo(let length):
                [
                    .init("MaxLength", .integer(Int64(length))), .init("Format", "TextArea"),
                    .init("FormatName", ["Value": "TextArea"]),
                    .init("IsLocalizable", false), .init("ImeMode", "Auto"),
                ]
            case .integer(let range):
                [
                    .init("MinValue", .integer(range.lowerBound)), .init("MaxValue", .integer(range.upperBound)),
                    .init("Format", "None"),
                ]
            case .bigInt: [.init("MinValue", .integer(.min)), .init("MaxValue", .integer(.max))]
            case .decimal:
                [
                    .init("Precision", 10), .init("ImeMode", "Auto"), .init("MinValue", .integer(-decimalLimit)),
                    .init("MaxValue", .integer(decimalLimit)),
                ]
            case .dateTime:
                [
                    .init("Format", attribute.isDateOnly ? "DateOnly" : "DateAndTime"),
                    .init("DateTimeBehavior", ["Value": "UserLocal"]), .init("ImeMode", "Auto"),
                    .init("CanChangeDateTimeBehavior", managed(false, "canchangedatetimebehavior")),
                ]
            case .lookup, .owner: [.init("Targets", .array(attribute.knownTargets.map(JSONValue.string))), .init("Format", "None")]
            case .picklist, .state, .status, .entityName: choice(type, value)
            case .boolean: [.init("DefaultValue", .bool(value == AttributeValue.bool(true)))]
            case .image:
                [
                    .init("IsPrimaryImage", true), .init("MaxSizeInKB", 10_240), .init("CanStoreFullImage", true),
                    .init("MaxHeight", nil),
                    .init("MaxWidth", nil),
                ]
            case .uniqueIdentifier: []
            }
        if case .int(let value)? = value, type.options == nil { members.append(.init("DefaultFormValue", .integer(value))) }
        if isCalculable(type) { members += [.init("FormulaDefinition", nil), .init("SourceTypeMask", 0)] }
        return members
    }

    /// The smallest and the largest decimal that Dataverse documents, without their signs.
    private static let decimalLimit: Int64 = 100_000_000_000

    private static func text(_ length: Int) -> [JSONValue.Member] {
        [
            .init("MaxLength", .integer(Int64(length))), .init("DatabaseLength", .integer(Int64(length))), .init("Format", "Text"),
            .init("FormatName", ["Value": "Text"]), .init("IsLocalizable", false), .init("ImeMode", "Auto"), .init("YomiOf", nil),
        ]
    }

    private static func choice(_ type: AttributeType, _ value: AttributeValue?) -> [JSONValue.Member] {
        let form: JSONValue = if case .int(let value)? = value { .integer(value) } else { .null }
        var members: [JSONValue.Member] = [
            .init("DefaultFormValue", form), .init("ParentPicklistLogicalName", nil),
            .init("ChildPicklistLogicalNames", .array([])),
        ]
        if case .entityName = type { members.append(.init("IsEntityReferenceStored", false)) }
        return members
    }

    /// Whether Dataverse can calculate attributes of the type.
    private static func isCalculable(_ type: AttributeType) -> Bool {
        switch type {
        case .string, .integer, .decimal, .dateTime, .boolean, .picklist: true
        default: false
        }
    }

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
            "IsHierarchical": false,
            "IsRelationshipAttributeDenormalized": false,
            "RelationshipAttributes": nil,
            "RelationshipBehavior": nil,
        ]
    }

    private static func cascade(_ relationship: EntityRelationship) -> JSONValue {
        return [
            "Assign": "NoCascade", "Delete": .string(relationship.deletion.rawValue), "Merge": "NoCascade", "Reparent": "NoCascade",
            "RollupView": "NoCascade", "Share": "NoCascade", "Unshare": "NoCascade",
        ]
    }
}
