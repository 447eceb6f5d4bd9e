import Model

/// A type of attribute metadata, as casts in paths name it.
struct AttributeMetadataType {
    private let name: String

    /// Every type that Dataverse documents, even types that no attribute of this service has.
    private static let documented: Set<String> = [
        "AttributeMetadata", "BigIntAttributeMetadata", "BooleanAttributeMetadata", "DateTimeAttributeMetadata",
        "DecimalAttributeMetadata", "DoubleAttributeMetadata", "EntityNameAttributeMetadata", "EnumAttributeMetadata",
        "FileAttributeMetadata", "ImageAttributeMetadata", "IntegerAttributeMetadata", "LookupAttributeMetadata",
        "ManagedPropertyAttributeMetadata", "MemoAttributeMetadata", "MoneyAttributeMetadata",
        "MultiSelectPicklistAttributeMetadata", "PicklistAttributeMetadata", "StateAttributeMetadata",
        "StatusAttributeMetadata", "StringAttributeMetadata", "UniqueIdentifierAttributeMetadata",
    ]

    /// - Returns: Nil for a segment that is not a cast to a type of attribute metadata.
    init?(segment: ODataPath.Segment) {
        guard segment.key == nil, segment.name.hasPrefix(ODataPath.namespace),
            Self.documented.contains(segment.name.strippingNamespace)
        else { return nil }
        name = segment.name.strippingNamespace
    }

    /// Whether this is the metadata type of `type`, or a base type of that metadata type.
    func includes(_ type: AttributeType) -> Bool {
        switch name {
        case "AttributeMetadata": true
        case "EnumAttributeMetadata": ["Picklist", "State", "Status", "EntityName"].contains(type.metadataName)
        default: name == "\(type.metadataName)AttributeMetadata"
        }
    }
}
