package import CellCrypto
package import PostgresClient
package import Tenancy

/// The roles in which people need one-time passwords. The roles are stored only in the attested list, so SQL can't remove the
/// requirement unnoticed.
package enum SecondFactorPolicy {
    /// The roles that people can have.
    package static let roles: [Role] = [.systemAdministrator, .emailAdministrator, .basicUser]

    package static func grant(_ role: Role) -> Grant { Grant(Grant.Name(.secondFactorPolicy, [Grant.field(role.rawValue)])) }

    /// Requires one-time passwords of people in these roles, and of no other people.
    package static func require(
        of roles: Set<Role>, in organization: Organization, by caller: Caller, under kek: KeyEncryptionKey,
        on connection: isolated PostgresConnection
    ) throws {
        try change(
            adding: roles, removing: Set(Self.roles).subtracting(roles), in: organization, by: caller, under: kek, on: connection)
    }

    /// Requires one-time passwords of people in the added roles, and no longer of people in the removed roles. Nothing changes for
    /// other roles.
    static func change(
        adding added: Set<Role>, removing removed: Set<Role>, in organization: Organization, by caller: Caller,
        under kek: KeyEncryptionKey, on connection: isolated PostgresConnection
    ) throws {
        try AttestedState.change(of: organization, under: kek, on: connection) { change in
            for role in added { _ = try change.grant(grant(role)) }
            for role in removed { try change.remove(grant(role).name) }
            let required = try Self.roles.filter { try change.names(grant($0).name) }
            let list = required.map(\.rawValue).joined(separator: ", ")
            try change.append(
                SecurityEvent(.secondFactorPolicySet, .succeeded, details: list.isEmpty ? "no role" : list), by: caller,
                on: connection)
        }
    }
}

extension OrganizationState {
    /// Whether people in a role need one-time passwords.
    func requiresSecondFactor(of role: Role) throws -> Bool { try grants.names(SecondFactorPolicy.grant(role).name) }
}

extension Session {
    /// The roles in which people need one-time passwords.
    package func rolesWithSecondFactor() throws -> [Role] {
        try SecondFactorPolicy.roles.filter { try state.requiresSecondFactor(of: $0) }
    }
}
