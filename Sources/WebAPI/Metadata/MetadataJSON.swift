import Crypto
import Foundation
import JSON
import Model

/// Metadata in Dataverse's format: `EntityDefinitions`, their attributes, keys and relationships.
enum MetadataJSON {
    /// The metadata is made once, because the schema is fixed.
    private static let entities = Dictionary(uniqueKeysWithValues: EntityCatalog.all.map { ($0.logicalName, made($0)) })
    private static let attributes = Dictionary(
        uniqueKeysWithValues: EntityCatalog.all.map { entity in
            (
                entity.logicalName,
                Dictionary(uniqueKeysWithValues: entity.attributes.map { ($0.logicalName, made($0, of: entity)) })
            )
        })

    static func entity(_ entity: EntityDefinition) -> JSONValue { entities[entity.logicalName] ?? made(entity) }

    static func attribute(_ attribute: AttributeDefinition, of entity: EntityDefinition) -> JSONValue {
        attributes[entity.logicalName]?[attribute.logicalName] ?? made(attribute, of: entity)
    }

    private static func made(_ entity: EntityDefinition) -> JSONValue {
        let names: JSONValue = [
            "@odata.type": "#Microsoft.Dynamics.CRM.EntityMetadata",
            "MetadataId": .string(id("entity", entity.logicalName)),
            "LogicalName": .string(entity.logicalName),
            "SchemaName": .string(entity.schemaName),
            "EntitySetName": .string(entity.entitySetName),
            "LogicalCollectionName": .string(entity.entitySetName),
            "PrimaryIdAttribute": .string(entity.primaryID),
            "PrimaryNameAttribute": .text(entity.primaryName),
            "OwnershipType": .string(entity.isIntersect ? "None" : entity.isUserOwned ? "UserOwned" : "OrganizationOwned"),
            "DisplayName": label(entity.displayName),
            "DisplayCollectionName": label(collectionLabel(of: entity)),
            "Description": label(""),
            "IsPrivate": false,
            "IsActivity": .bool(entity.logicalName == EntityDefinition.email.logicalName),
            "IsCustomEntity": false,
            "IsIntersect": .bool(entity.isIntersect),
            "IsLogicalEntity": false,
            "IsManaged": true,
            "IsAuditEnabled": managed(entity.isAudited, "canmodifyauditsettings"),
            "IsCustomizable": managed(false, "iscustomizable"),
            "IsValidForAdvancedFind": true,
            "HasActivities": false,
            "HasNotes": false,
        ]
        guard case .object(let known) = names else { return names }
        return .object(known + members(of: entity))
    }

    private static func made(_ attribute: AttributeDefinition, of entity: EntityDefinition) -> JSONValue {
        let isPrimary = attribute.logicalName == entity.primaryID
        let isRead = attribute.validFor.contains(.read) && !attribute.isEncrypted
        var members: [JSONValue.Member] = [
            .init("@odata.type", .string("#Microsoft.Dynamics.CRM.\(attribute.type.metadataName)AttributeMetadata")),
            .init("MetadataId", .string(id("attribute", "\(entity.logicalName).\(attribute.logicalName)"))),
            .init("LogicalName", .string(attribute.logicalName)),
            .init("SchemaName", .string(attribute.schemaName)),
            .init("EntityLogicalName", .string(entity.logicalName)),
            .init("AttributeType", .string(attribute.type.attributeType)),
            .init("AttributeTypeName", ["Value": .string(typeName(of: attribute.type))]),
            .init("AttributeOf", .text(nameOf(attribute, entity))),
            .init("DisplayName", label(attribute.displayName)),
            .init("Description", label("")),
            .init("IsPrimaryId", .bool(isPrimary)),
            .init("IsPrimaryName", .bool(attribute.logicalName == entity.primaryName)),
            .init("IsCustomAttribute", false),
            .init("IsManaged", true),
            .init("IsLogical", .bool(nameOf(attribute, entity) != nil)),
            .init("IsSecured", false),
            .init("IsValidForCreate", .bool(attribute.isWritable(by: .create))),
            .init("IsValidForUpdate", .bool(attribute.isWritable(by: .update))),
            .init("IsValidForRead", .bool(isRead)),
            .init("IsSearchable", .bool(isRead && attribute.type.isSearchable)),
            .init("IsFilterable", .bool(isRead)),
            .init("IsEncrypted", .bool(attribute.isEncrypted)),
            .init(
                "IsValidForAdvancedFind",
                [
                    "Value": .bool(isRead), "CanBeChanged": false,
                    "ManagedPropertyLogicalName": "canmodifysearchsettings",
                ]),
            .init("IsAuditEnabled", managed(entity.audits(attribute), "canmodifyauditsettings")),
            .init("IsCustomizable", managed(false, "iscustomizable")),
            .init("IsRenameable", managed(false, "isrenameable")),
            .init(
                "RequiredLevel",
                [
                    "Value": .string(attribute.required.name), "CanBeChanged": false,
                    "ManagedPropertyLogicalName": "canmodifyrequirementlevelsettings",
                ]),
        ]
        members += Self.typeMembers(of: attribute)
        return .object(members + Self.members(of: attribute, in: entity))
    }

    static func keys(of entity: EntityDefinition) -> [JSONValue] {
        entity.alternateKeys.map { attribute in
            [
                "MetadataId": .string(id("key", "\(entity.logicalName).\(attribute.logicalName)")),
                "SchemaName": .string("\(entity.schemaName)_\(attribute.schemaName)"),
                "LogicalName": .string("\(entity.logicalName)_\(attribute.logicalName)"),
                "EntityLogicalName": .string(entity.logicalName),
                "KeyAttributes": .array([.string(attribute.logicalName)]),
                "EntityKeyIndexStatus": "Active",
                "DisplayName": label(attribute.displayName),
                "IsManaged": true,
                "IsCustomizable": managed(false, "iscustomizable"),
                "IntroducedVersion": introducedVersion,
                "HasChanged": nil,
                "AsyncJob": nil,
                "IsExportKey": false,
                "IsSecondaryKey": false,
                "IsSynchronous": true,
            ]
        }
    }

    /// The version that introduced every part of the schema.
    static let introducedVersion: JSONValue = "9.2.0.0"

    /// The lookup for which this attribute holds the name of the referenced record; nil for another attribute.
    static func nameOf(_ attribute: AttributeDefinition, _ entity: EntityDefinition) -> String? {
        for suffix in ["yominame", "name"] where attribute.logicalName.hasSuffix(suffix) {
            let lookup = String(attribute.logicalName.dropLast(suffix.count))
            if entity[lookup]?.type.isReference == true { return lookup }
        }
        return nil
    }

    static func label(_ text: String) -> JSONValue {
        guard !text.isEmpty else { return ["LocalizedLabels": [], "UserLocalizedLabel": nil] }
        let label: JSONValue = [
            "Label": .string(text), "LanguageCode": 1033, "IsManaged": true, "MetadataId": .string(id("label", text)),
            "HasChanged": nil,
        ]
        return ["LocalizedLabels": .array([label]), "UserLocalizedLabel": label]
    }

    static func managed(_ value: Bool, _ name: String) -> JSONValue {
        ["Value": .bool(value), "CanBeChanged": false, "ManagedPropertyLogicalName": .string(name)]
    }

    static func privilegeID(_ name: String) -> String { id("privilege", name) }

    /// An id derived from a name, so that it is the same on every server (RFC 9562 section 5.5).
    static func id(_ kind: String, _ name: String) -> String {
        var bytes = Array(Insecure.SHA1.hash(data: Data("fieldseal/\(kind)/\(name)".utf8)).prefix(16))
        bytes[6] = bytes[6] & 0x0f | 0x50
        bytes[8] = bytes[8] & 0x3f | 0x80
        return bytes.withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)).text }
    }
}

extension AttributeDefinition.RequiredLevel {
    /// The name in metadata.
    var name: String {
        switch self {
        case .none: "None"
        case .application: "ApplicationRequired"
        case .system: "SystemRequired"
        }
    }
}

extension AttributeType {
    /// The name of the attribute's metadata type, without `AttributeMetadata`.
    var metadataName: String {
        switch self {
        case .string: "String"
        case .memo: "Memo"
        case .picklist: "Picklist"
        case .state: "State"
        case .status: "Status"
        case .boolean: "Boolean"
        case .integer: "Integer"
        case .bigInt: "BigInt"
        case .decimal: "Decimal"
        case .dateTime: "DateTime"
        case .lookup, .owner: "Lookup"
        case .uniqueIdentifier: "UniqueIdentifier"
        case .entityName: "EntityName"
        case .image: "Image"
        }
    }

    /// The value of `AttributeType` in metadata.
    var attributeType: String {
        switch self {
        case .owner: "Owner"
        case .uniqueIdentifier: "Uniqueidentifier"
        case .image: "Virtual"
        default: metadataName
        }
    }

    fileprivate var isSearchable: Bool {
        switch self {
        case .string, .memo: true
        default: false
        }
    }
}
