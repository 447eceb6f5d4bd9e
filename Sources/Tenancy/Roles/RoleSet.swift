package import Model

/// The roles of a caller. An operation is allowed if any of the roles allows it.
package struct RoleSet: OptionSet, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package init(_ role: Role) { rawValue = role.bit }

    package init(_ roles: some Sequence<Role>) { rawValue = roles.reduce(0) { $0 | $1.bit } }

    /// The roles, in the order of ``Role/allCases``.
    package var roles: [Role] { Role.allCases.filter(contains) }

    /// Whether the set has a role.
    package func contains(_ role: Role) -> Bool { rawValue & role.bit != 0 }

    /// Adds a role.
    package mutating func insert(_ role: Role) { formUnion(RoleSet(role)) }

    /// Whether these roles allow something that `former` do not.
    func adds(to former: RoleSet) -> Bool {
        roles.contains { role in former.roles.allSatisfy { role.adds(to: $0) } }
    }

    /// The first role of the set, in the order of ``Role/allCases``.
    package var leading: Role? { Role.allCases.first(where: contains) }
}

extension Role {
    fileprivate var bit: UInt8 {
        switch self {
        case .systemAdministrator: 1
        case .emailAdministrator: 2
        case .basicUser: 4
        case .emailRouter: 8
        }
    }
}

extension PrivilegeTable {
    /// The depth to which a caller with these roles may send `message` to records of `entity`.
    package static func depth(of message: EntityDefinition.Message, on entity: EntityDefinition, for roles: RoleSet)
        -> PrivilegeDepth
    {
        var deepest = PrivilegeDepth.none
        for role in Role.allCases where roles.contains(role) { deepest = max(deepest, depth(of: message, on: entity, for: role)) }
        return deepest
    }

    /// The depth to which a caller with these roles may write an attribute with a create or an update. Depths of different roles
    /// are not combined. For example, one role may write this attribute of few records, and another role other attributes of many
    /// records. Then the caller can write this attribute only of the few records.
    static func depth(
        of message: EntityDefinition.Message, writing attribute: String, on entity: EntityDefinition, for roles: RoleSet
    ) -> PrivilegeDepth {
        let isEncrypted = entity[attribute]?.isEncrypted ?? false
        var deepest = PrivilegeDepth.none
        for role in Role.allCases where roles.contains(role) {
            guard mayWrite(attribute, of: entity, role), !isEncrypted || maySetPasswords(role) else { continue }
            deepest = max(deepest, depth(of: message, on: entity, for: role))
        }
        return deepest
    }

    /// Whether at least one of these roles may write an attribute of the records that the role may create or update.
    package static func mayWrite(_ attribute: String, of entity: EntityDefinition, _ roles: RoleSet) -> Bool {
        Role.allCases.contains { roles.contains($0) && mayWrite(attribute, of: entity, $0) }
    }
}
