import PostgresClient

/// One attribute of an entity.
package final class AttributeDefinition: Sendable {
    /// The operations in which a client may use the attribute.
    package struct Operations: OptionSet, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }
        package static let create = Operations(rawValue: 1)
        package static let update = Operations(rawValue: 2)
        package static let read = Operations(rawValue: 4)
        package static let all: Operations = [.create, .update, .read]
    }

    /// Whether a value is required, and by what.
    package enum RequiredLevel: Sendable {
        /// A value is optional.
        case none
        /// Forms require a value; the server does not.
        case application
        /// The server requires a value: it fills in a missing one, and refuses null.
        case system
    }

    /// The attribute's name in its original case, such as `EmailServerProfile`.
    package let schemaName: String
    /// The name in lower case, which clients use.
    package let logicalName: String
    /// The name of the column, quoted for SQL. It is the logical name, except for an attribute that is a second name of the
    /// record's id.
    package let column: String
    package let type: AttributeType
    package let required: RequiredLevel
    package let validFor: Operations
    package let defaultValue: AttributeValue?
    /// Whether values are encrypted. Clients can set such a value, but they read null, and can't search or sort by it.
    package let isEncrypted: Bool
    /// The value that the server fills in for a new record whose creator gave none; nil for none.
    package let serverDefault: ServerDefault?

    /// A value that the server fills in.
    package enum ServerDefault: Sendable {
        case value(AttributeValue)
        /// The time of the write.
        case now
        /// The caller, their business unit, or their organization.
        case user, businessUnit, organization
    }

    init(
        _ schemaName: String,
        _ type: AttributeType,
        required: RequiredLevel = .none,
        validFor: Operations = .all,
        default defaultValue: AttributeValue? = nil,
        isEncrypted: Bool = false,
        column: String? = nil
    ) {
        self.schemaName = schemaName
        logicalName = schemaName.lowercased()
        self.column = quoteIdentifier(column ?? logicalName)
        self.type = type
        self.required = required
        self.validFor = validFor
        self.defaultValue = defaultValue
        self.isEncrypted = isEncrypted
        serverDefault = isEncrypted ? nil : Self.serverDefault(logicalName, type, required, validFor, defaultValue)
    }

    private static func serverDefault(
        _ name: String,
        _ type: AttributeType,
        _ required: RequiredLevel,
        _ uses: Operations,
        _ defaultValue: AttributeValue?
    ) -> ServerDefault? {
        switch name {
        case "createdon", "modifiedon": return .now
        case "createdby", "modifiedby", "primaryuserid": return .user
        case "organizationid": return .organization
        case "businessunitid": return .businessUnit
        case "versionnumber": return nil
        default: break
        }
        if let defaultValue { return .value(defaultValue) }
        switch type {
        case .state(let options), .status(let options): return options.options.first.map { .value(.int($0.value)) }
        case .owner: return .user
        default: break
        }
        guard required == .system else { return nil }
        switch type {
        case .picklist(let options): return options.options.first.map { .value(.int($0.value)) }
        case .integer(let range): return .value(.int(max(range.lowerBound, min(0, range.upperBound))))
        case .bigInt: return .value(.int(0))
        case .boolean: return .value(.bool(false))
        case .dateTime: return .now
        case .string where uses.contains(.create), .memo: return .value(.text(""))
        default: return nil
        }
    }

    /// The option that a new record has when its creator names none.
    package var initialOption: Int64? {
        guard type.options != nil, case .value(.int(let value))? = serverDefault else { return nil }
        return value
    }

    /// The entities of this catalog that the attribute may refer to. A lookup without such an entity can't be set.
    package var knownTargets: [String] { type.targets.filter { EntityCatalog.entity($0) != nil } }

    /// Whether formatted values show only the date. The values themselves have a time.
    package var isDateOnly: Bool { logicalName == "overriddencreatedon" }

    /// Whether a client may set the attribute in a create or an update.
    package func isWritable(by use: Operations) -> Bool {
        validFor.contains(use) && (!type.isReference || !knownTargets.isEmpty)
    }

    /// The property's name in a representation: `_emailserverprofile_value` for a lookup, else the logical name.
    package var propertyName: String { type.isReference ? "_\(logicalName)_value" : logicalName }
}
