import JSON
import Model

/// Metadata as the Web API gives it, with what the SDK's classes have besides.
enum MetadataParts {
    /// What of an entity is asked for (`EntityFilters`).
    struct Filters: OptionSet, Sendable {
        let rawValue: UInt8
        static let attributes = Filters(rawValue: 1)
        static let privileges = Filters(rawValue: 2)
        static let relationships = Filters(rawValue: 4)
        static let all: Filters = [.attributes, .privileges, .relationships]

        /// Reads the names of flags, such as `Entity Attributes`.
        ///
        /// - Returns: Nil for a name that is none.
        init?(words: String) {
            self = []
            for word in words.split(separator: " ") {
                switch word {
                case "Entity", "Default": continue
                case "Attributes": insert(.attributes)
                case "Privileges": insert(.privileges)
                case "Relationships": insert(.relationships)
                case "All": formUnion(.all)
                default: return nil
                }
            }
        }

        init(rawValue: UInt8) { self.rawValue = rawValue }
    }

    static func entity(_ entity: EntityDefinition, _ filters: Filters) -> JSONValue {
        guard case .object(var members) = Definitions.entity(entity) else { return .null }
        if let code = typeCodes[entity.logicalName] { members.append(.init("ObjectTypeCode", .integer(code))) }
        members.append(.init("IsOptimisticConcurrencyEnabled", true))
        if filters.contains(.attributes) {
            members.append(.init("Attributes", .array(entity.attributes.map { attribute($0, of: entity) })))
            members.append(.init("Keys", .array(Definitions.keys(of: entity))))
        }
        if filters.contains(.privileges) { members.append(.init("Privileges", .array(privileges(of: entity)))) }
        if filters.contains(.relationships) {
            members.append(
                .init("ManyToManyRelationships", .array(entity.associations.map { Definitions.relationship($0.relationship) })))
            members.append(.init("ManyToOneRelationships", .array(entity.manyToOne.map(relationship))))
            members.append(.init("OneToManyRelationships", .array(entity.oneToMany.map(relationship))))
        }
        return .object(members)
    }

    static func attribute(_ attribute: AttributeDefinition, of entity: EntityDefinition) -> JSONValue {
        guard case .object(var members) = Definitions.attribute(attribute, of: entity) else { return .null }
        if case .object(let options)? = Definitions.optionSet(attribute, of: entity) {
            members.append(.init("OptionSet", .object(states(options, of: entity))))
        }
        if case .entityName = attribute.type { members.append(.init("IsEntityReferenceStored", false)) }
        return .object(members)
    }

    /// Adds to states their first status, and to statuses their state.
    private static func states(_ members: [JSONValue.Member], of entity: EntityDefinition) -> [JSONValue.Member] {
        let kind = members.first { $0.name == "OptionSetType" }?.value.string
        guard kind == "State" || kind == "Status" else { return members }
        return members.map { member in
            guard member.name == "Options", case .array(let options) = member.value else { return member }
            return .init(
                member.name,
                .array(
                    options.map { option in
                        guard case .object(let inner) = option, case .integer(let value)? = option["Value"] else { return option }
                        if kind == "Status" { return .object(inner + [.init("State", .integer(state(of: value, entity)))]) }
                        let statuses = entity["statuscode"]?.type.options?.options.map(\.value) ?? []
                        let first = statuses.first { state(of: $0, entity) == value }
                        return .object(
                            inner + [
                                .init("DefaultStatus", first.map { .integer($0) } ?? .null),
                                .init("InvariantName", label(of: value, entity)),
                            ])
                    }))
        }
    }

    private static func label(of state: Int64, _ entity: EntityDefinition) -> JSONValue {
        .text(entity["statecode"]?.type.options?.options.first { $0.value == state }?.label)
    }

    /// The state of a status: of an e-mail by what happened to it; elsewhere 1 and 2 are those of 0 and 1.
    private static func state(of status: Int64, _ entity: EntityDefinition) -> Int64 {
        guard entity.logicalName == EntityDefinition.email.logicalName else { return max(0, status - 1) }
        switch status {
        case 1, 8: return 0
        case 5: return 2
        default: return 1
        }
    }

    private static func relationship(_ relationship: EntityRelationship) -> JSONValue {
        guard case .object(let members) = Definitions.relationship(relationship) else { return .null }
        return .object(members + [.init("CascadeConfiguration", cascade)])
    }

    /// Nothing is passed on from a record to others, and a lookup of a deleted record is cleared.
    private static let cascade: JSONValue = [
        "Assign": "NoCascade", "Delete": "RemoveLink", "Merge": "NoCascade", "Reparent": "NoCascade", "Share": "NoCascade",
        "Unshare": "NoCascade",
    ]

    private static func privileges(of entity: EntityDefinition) -> [JSONValue] {
        let kinds: [(EntityDefinition.Message, String)] = [
            (.create, "Create"), (.retrieve, "Read"), (.update, "Write"), (.delete, "Delete"), (.assign, "Assign"),
            (.share, "Share"),
        ]
        return kinds.filter { entity.has($0.0) }.map { _, kind in
            [
                "CanBeBasic": .bool(entity.isUserOwned), "CanBeDeep": false, "CanBeEntityReference": false, "CanBeGlobal": true,
                "CanBeLocal": false, "CanBeParentEntityReference": false, "Name": .string("prv\(kind)\(entity.schemaName)"),
                "PrivilegeId": .string(Definitions.id("privilege", "\(kind).\(entity.logicalName)")),
                "PrivilegeType": .string(kind),
            ]
        }
    }

    /// The numbers of the original's entities.
    private static let typeCodes: [String: Int64] = [
        "systemuser": 8, "team": 9, "businessunit": 10, "activityparty": 135, "usersettings": 150,
        "activitymimeattachment": 1001, "organization": 1019, "role": 1036, "queue": 2020, "email": 4202, "audit": 4567,
        "tracelog": 8050, "transactioncurrency": 9105, "emailserverprofile": 9605, "mailbox": 9606,
    ]
}
