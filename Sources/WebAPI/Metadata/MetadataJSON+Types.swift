import JSON
import Model

// The members of attribute metadata that only some types of attributes have. Members for features that this service does not
// have are null.
extension MetadataJSON {
    static func typeMembers(of attribute: AttributeDefinition) -> [JSONValue.Member] {
        let type = attribute.type
        let value = attribute.initialOption.map { AttributeValue.int($0) } ?? attribute.defaultValue
        var members: [JSONValue.Member] =
            switch type {
            case .string(let length): text(length, textFormat(of: attribute))
            case .memo(let length):
                [
                    .init("MaxLength", .integer(Int64(length))), .init("Format", "TextArea"),
                    .init("FormatName", ["Value": "TextArea"]),
                    .init("IsLocalizable", false), .init("ImeMode", "Auto"),
                ]
            case .integer(let range):
                [
                    .init("MinValue", .integer(range.lowerBound)), .init("MaxValue", .integer(range.upperBound)),
                    .init("Format", .string(numberFormat(of: attribute))),
                ]
            case .bigInt: [.init("MinValue", .integer(.min)), .init("MaxValue", .integer(.max))]
            case .decimal: decimalMembers(of: attribute)
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
                    .init("IsPrimaryImage", true), .init("MaxSizeInKB", .integer(Int64(APILimits.bodyLength >> 10))),
                    .init("CanStoreFullImage", true),
                    .init("MaxHeight", nil),
                    .init("MaxWidth", nil),
                ]
            case .uniqueIdentifier: []
            }
        if case .int(let value)? = value, type.options == nil { members.append(.init("DefaultFormValue", .integer(value))) }
        if isCalculable(type) { members += [.init("FormulaDefinition", nil), .init("SourceTypeMask", 0)] }
        return members
    }

    /// The members of text attributes. The length in the database is in octets, two for each character, as in Dataverse.
    private static func text(_ length: Int, _ format: String) -> [JSONValue.Member] {
        [
            .init("MaxLength", .integer(Int64(length))), .init("DatabaseLength", .integer(Int64(length) * 2)),
            .init("Format", .string(format)), .init("FormatName", ["Value": .string(format)]), .init("IsLocalizable", false),
            .init("ImeMode", "Auto"), .init("YomiOf", nil),
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

    // MARK: Formats, as Dataverse's reference of each table has them

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
