import JSON

/// Writes the service's metadata as the contracts of Microsoft's classes. The metadata comes from the Web API's JSON.
struct MetadataWriter {
    private static let metadata = Contract.metadata

    /// The namespace of a contract's member. Most members are in the metadata's own namespace.
    private static func namespace(of name: String, in contract: String) -> String {
        switch contract {
        case "Image" where MetadataShapes.tail("Image").contains(name): Contract.metadata2013
        case "Key" where name != "MetadataId" && name != "HasChanged": Contract.metadata71
        default: metadata
        }
    }

    // MARK: Contracts

    /// Writes the contents of an `EntityMetadata`.
    ///
    /// - Parameter value: The members of the entity. The entity's attributes, keys and relationships are arrays. Missing members
    ///   become nil elements.
    static func entity(_ value: JSONValue, to writer: inout ContractWriter) {
        for name in MetadataShapes.entity {
            guard case .array(let parts)? = value[name] else {
                member(name, value[name], "Entity", to: &writer)
                continue
            }
            switch name {
            case "Attributes":
                writer.element(name, metadata) { writer in
                    for part in parts { attribute(part, "AttributeMetadata", metadata, to: &writer) }
                }
            case "Keys": writer.element(name, metadata) { writer in for part in parts { key(part, to: &writer) } }
            case "Privileges":
                writer.element(name, metadata) { writer in for part in parts { privilege(part, to: &writer) } }
            case "ManyToManyRelationships":
                list(name, parts, "ManyToManyRelationshipMetadata", MetadataShapes.manyToMany, to: &writer)
            default: list(name, parts, "OneToManyRelationshipMetadata", MetadataShapes.oneToMany, to: &writer)
            }
        }
    }

    private static func key(_ value: JSONValue, to writer: inout ContractWriter) {
        writer.element("EntityKeyMetadata", Contract.metadata71) { members(MetadataShapes.key, value, "Key", to: &$0) }
    }

    private static func list(
        _ name: String, _ parts: [JSONValue], _ element: String, _ shape: [String], to writer: inout ContractWriter
    ) {
        writer.element(name, metadata) { writer in
            for part in parts {
                writer.element(element, metadata) { members(shape, part, "Relationship", to: &$0) }
            }
        }
    }

    /// The contract of an attribute's metadata.
    static func attributeType(_ value: JSONValue) -> XMLName {
        let kind = kind(value)
        let namespace =
            switch kind {
            case "Image": Contract.metadata2013
            case "UniqueIdentifier": Contract.metadata71
            default: metadata
            }
        return XMLName(namespace, "\(kind)AttributeMetadata")
    }

    private static func kind(_ value: JSONValue) -> String {
        let type = value["@odata.type"]?.string ?? ""
        return String(type.split(separator: ".").last?.dropLast("AttributeMetadata".count) ?? "")
    }

    private static func attribute(_ value: JSONValue, _ local: String, _ namespace: String, to writer: inout ContractWriter) {
        writer.element(local, namespace, type: attributeType(value)) { attribute(value, to: &$0) }
    }

    /// Writes the contents of an `AttributeMetadata`.
    static func attribute(_ value: JSONValue, to writer: inout ContractWriter) {
        let kind = kind(value)
        members(MetadataShapes.attribute + MetadataShapes.tail(kind), value, kind, to: &writer)
    }

    private static func privilege(_ value: JSONValue, to writer: inout ContractWriter) {
        writer.element("SecurityPrivilegeMetadata", metadata) { writer in
            for name in [
                "CanBeBasic", "CanBeDeep", "CanBeEntityReference", "CanBeGlobal", "CanBeLocal", "CanBeParentEntityReference",
                "Name",
                "PrivilegeId", "PrivilegeType",
            ] { member(name, value[name], "Privilege", to: &writer) }
        }
    }

    private static func members(_ shape: [String], _ value: JSONValue, _ contract: String, to writer: inout ContractWriter) {
        for name in shape { member(name, value[name], contract, to: &writer) }
    }

    // MARK: Members

    /// Writes one member as an element. The kind of the JSON value decides the form of the element.
    private static func member(_ name: String, _ value: JSONValue?, _ contract: String, to writer: inout ContractWriter) {
        let namespace = namespace(of: name, in: contract)
        switch value {
        case nil, .null?: writer.null(name, namespace)
        case .bool(let flag)?: writer.text(name, namespace, String(flag))
        case .integer(let number)?: writer.text(name, namespace, String(number))
        case .number(let text)?, .string(let text)?: writer.text(name, namespace, text)
        case .array(let elements)?:
            writer.element(name, namespace, declaring: [Contract.arrays]) { writer in
                for element in elements { writer.text("string", Contract.arrays, element.string ?? "") }
            }
        case let value?:
            if value["LocalizedLabels"] != nil {
                writer.element(name, namespace) { label(value, to: &$0) }
            } else if value["CanBeChanged"] != nil {
                writer.element(name, namespace) { managed(value, to: &$0) }
            } else if name == "OptionSet" {
                writer.element(name, namespace) { optionSet(value, to: &$0) }
            } else if name == "CascadeConfiguration" {
                writer.element(name, namespace) { writer in
                    for name in ["Assign", "Delete", "Merge", "Reparent", "Share", "Unshare", "RollupView"] {
                        member(name, value[name], name, to: &writer)
                    }
                }
            } else {
                writer.element(name, namespace, declaring: [Contract.metadata2013]) { writer in
                    writer.optional("Value", Contract.metadata2013, value["Value"]?.string)
                }
            }
        }
    }

    private static func label(_ value: JSONValue, to writer: inout ContractWriter) {
        func localized(_ label: JSONValue, to writer: inout ContractWriter) {
            writer.null("MetadataId", metadata)
            writer.null("HasChanged", metadata)
            writer.null("IsManaged", Contract.xrm)
            writer.text("Label", Contract.xrm, label["Label"]?.string ?? "")
            writer.text("LanguageCode", Contract.xrm, "1033")
        }
        writer.element("LocalizedLabels", Contract.xrm) { writer in
            guard case .array(let labels)? = value["LocalizedLabels"] else { return }
            for label in labels { writer.element("LocalizedLabel", Contract.xrm) { localized(label, to: &$0) } }
        }
        guard let own = value["UserLocalizedLabel"], own != .null else {
            return writer.null("UserLocalizedLabel", Contract.xrm)
        }
        writer.element("UserLocalizedLabel", Contract.xrm) { localized(own, to: &$0) }
    }

    private static func managed(_ value: JSONValue, to writer: inout ContractWriter) {
        func text(_ value: JSONValue?) -> String {
            switch value {
            case .bool(let flag)?: String(flag)
            case .string(let text)?: text
            default: ""
            }
        }
        writer.text("CanBeChanged", Contract.xrm, text(value["CanBeChanged"]))
        writer.optional("ManagedPropertyLogicalName", Contract.xrm, value["ManagedPropertyLogicalName"]?.string)
        writer.text("Value", Contract.xrm, text(value["Value"]))
    }

    // MARK: Options

    private static func optionSet(_ value: JSONValue, to writer: inout ContractWriter) {
        members(MetadataShapes.optionSet, value, "OptionSet", to: &writer)
        if value["TrueOption"] != nil {
            for name in ["FalseOption", "TrueOption"] {
                writer.element(name, metadata) { option(value[name] ?? .null, to: &$0) }
            }
            return
        }
        let kind = value["OptionSetType"]?.string ?? ""
        let type = kind == "State" || kind == "Status" ? XMLName(metadata, "\(kind)OptionMetadata") : nil
        writer.element("Options", metadata) { writer in
            guard case .array(let options)? = value["Options"] else { return }
            for value in options {
                writer.element("OptionMetadata", metadata, type: type) { writer in
                    option(value, to: &writer)
                    switch kind {
                    case "State":
                        member("DefaultStatus", value["DefaultStatus"], kind, to: &writer)
                        member("InvariantName", value["InvariantName"], kind, to: &writer)
                    case "Status":
                        member("State", value["State"], kind, to: &writer)
                        writer.null("TransitionData", metadata)
                    default: break
                    }
                }
            }
        }
        writer.null("ParentOptionSetName", metadata)
    }

    private static func option(_ value: JSONValue, to writer: inout ContractWriter) {
        members(MetadataShapes.option, value, "Option", to: &writer)
    }
}
