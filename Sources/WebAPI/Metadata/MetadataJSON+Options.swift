import JSON
import Model

extension MetadataJSON {
    /// The options of an attribute, for `$expand=OptionSet`.
    static func optionSet(_ attribute: AttributeDefinition, of entity: EntityDefinition) -> JSONValue? {
        var members: [JSONValue.Member] = [
            .init("MetadataId", .string(id("optionset", "\(entity.logicalName).\(attribute.logicalName)"))),
            .init("HasChanged", nil),
            .init("Name", .string("\(entity.logicalName)_\(attribute.logicalName)")),
            .init("DisplayName", label(attribute.displayName)),
            .init("Description", label("")),
            .init("IsCustomOptionSet", false),
            .init("IsCustomizable", managed(false, "iscustomizable")),
            .init("IsGlobal", false),
            .init("IsManaged", true),
            .init("IntroducedVersion", "9.2.0.0"),
            .init("ExternalTypeName", nil),
            .init("ParentOptionSetName", nil),
            .init("OptionSetType", .string(attribute.type.metadataName)),
        ]
        if case .boolean = attribute.type {
            members += [.init("TrueOption", .object(option(1, "Yes"))), .init("FalseOption", .object(option(0, "No")))]
            return .object(members)
        }
        guard let options = attribute.type.options else { return nil }
        members.append(
            .init(
                "Options",
                .array(options.options.map { .object(option($0.value, $0.label) + states($0.value, $0.label, attribute, entity)) }))
        )
        return .object(members)
    }

    private static func option(_ value: Int64, _ text: String) -> [JSONValue.Member] {
        [
            .init("Value", .integer(value)), .init("Label", label(text)), .init("Description", label("")), .init("Color", nil),
            .init("ExternalValue", nil), .init("HasChanged", nil), .init("IsHidden", false), .init("IsManaged", true),
            .init("MetadataId", nil), .init("ParentValues", .array([])), .init("Tag", nil),
        ]
    }

    /// Additional members of options: the default status of a state, and the state of a status.
    private static func states(_ value: Int64, _ label: String, _ attribute: AttributeDefinition, _ entity: EntityDefinition)
        -> [JSONValue.Member]
    {
        switch attribute.type {
        case .state:
            let statuses = entity["statuscode"]?.type.options?.options.map(\.value) ?? []
            let first = statuses.first { state(of: $0, entity) == value }
            return [.init("DefaultStatus", first.map { .integer($0) } ?? .null), .init("InvariantName", .string(label))]
        case .status: return [.init("State", .integer(state(of: value, entity))), .init("TransitionData", nil)]
        default: return []
        }
    }

    /// The state of a status. For an e-mail, the state follows from the delivery. For other records, the statuses 1 and 2 belong to
    /// the states 0 and 1.
    private static func state(of status: Int64, _ entity: EntityDefinition) -> Int64 {
        guard entity.logicalName == EntityDefinition.email.logicalName else { return max(0, status - 1) }
        switch status {
        case 1, 8: return 0
        case 5: return 2
        default: return 1
        }
    }
}
