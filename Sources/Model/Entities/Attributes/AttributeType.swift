import PostgresClient

/// The type of an attribute's values.
package enum AttributeType: Sendable {
    /// A text with a maximum length in UTF-16 units.
    case string(Int)
    case memo(Int)
    case picklist(OptionLabels)
    case state(OptionLabels)
    case status(OptionLabels)
    case boolean
    case integer(ClosedRange<Int64>)
    case bigInt
    case decimal
    case dateTime
    /// A reference to a record of one of the named entities.
    case lookup([String])
    /// A reference to a systemuser or a team.
    case owner
    case uniqueIdentifier
    case entityName
    case image

    /// Whether a value refers to a record.
    package var isReference: Bool {
        switch self {
        case .lookup, .owner: true
        default: false
        }
    }

    /// Whether values are pictures.
    package var isImage: Bool { if case .image = self { true } else { false } }

    /// Whether a value is the logical name of an entity.
    package var isEntityName: Bool { if case .entityName = self { true } else { false } }

    /// The logical names of the entities that the attribute may refer to.
    package var targets: [String] {
        switch self {
        case .lookup(let targets): targets
        case .owner: ["systemuser", "team"]
        default: []
        }
    }

    /// The entity that every value refers to: the only target, or the only target that is in the catalog. Nil if another attribute
    /// has to name the entity.
    package var soleTarget: String? {
        guard targets.count > 1 else { return targets.first }
        let known = targets.filter { EntityCatalog.entity($0) != nil }
        return known.count == 1 ? known[0] : nil
    }

    /// The labels of the type's options; nil for a type without options.
    package var options: OptionLabels? {
        switch self {
        case .picklist(let options), .state(let options), .status(let options): options
        default: nil
        }
    }
}
