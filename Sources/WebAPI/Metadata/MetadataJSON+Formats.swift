import JSON
import Model

// Names of collections, and formats of attributes as Dataverse's reference of each table has them.
extension MetadataJSON {
    /// The schema name with the ending of the entity set's name: `Mailboxes` of `Mailbox` and `mailboxes`.
    static func collectionName(of entity: EntityDefinition) -> String {
        let shared = zip(entity.schemaName.lowercased(), entity.entitySetName).prefix { $0 == $1 }.count
        let ending = String(entity.entitySetName.dropFirst(shared))
        return entity.schemaName.prefix(shared) + (ending == "collection" ? "Collection" : ending)
    }

    /// The name of the collection as words, without `Collection`.
    static func collectionLabel(of entity: EntityDefinition) -> String {
        let name = collectionName(of: entity)
        return (name.hasSuffix("Collection") ? String(name.dropLast("Collection".count)) : name).spaced
    }

    static func textFormat(of attribute: AttributeDefinition) -> String {
        switch attribute.logicalName {
        case "emailaddress", "internalemailaddress": "Email"
        case "ewsurl", "entityimage_url": "Url"
        default: "Text"
        }
    }

    static func numberFormat(of attribute: AttributeDefinition) -> String {
        switch attribute.logicalName {
        case "actualdurationminutes", "scheduleddurationminutes": "Duration"
        case "helplanguageid", "languagecode", "uilanguageid": "Language"
        case "localeid": "Locale"
        default: "None"
        }
    }

    static func decimalMembers(of attribute: AttributeDefinition) -> [JSONValue.Member] {
        let isEffort = attribute.logicalName == "effort"
        return [
            .init("Precision", isEffort ? 2 : 10), .init("ImeMode", "Auto"),
            .init("MinValue", isEffort ? 0 : .number("0.0000000001")),
            .init("MaxValue", .integer(isEffort ? 1_000_000_000 : 100_000_000_000)),
        ]
    }

    /// The name of the type, for `AttributeTypeName`.
    static func typeName(of type: AttributeType) -> String { type.isImage ? "ImageType" : "\(type.attributeType)Type" }
}
