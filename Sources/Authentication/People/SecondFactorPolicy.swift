import PostgresClient
public import Tenancy

/// In which roles people need one-time passwords. The attested list alone has it, so that SQL can't take it away.
public enum SecondFactorPolicy {
    /// The roles that people can have.
    public static let roles: [Role] = [.systemAdministrator, .emailAdministrator, .basicUser]

    package static func grant(_ role: Role) -> Grant { Grant(Grant.Name(.secondFactorPolicy, [Grant.field(role.rawValue)])) }
}

extension OrganizationState {
    /// Whether people in a role need one-time passwords.
    func requiresSecondFactor(of role: Role) throws -> Bool { try grants.names(SecondFactorPolicy.grant(role).name) }
}

extension Session {
    /// The roles in which people need one-time passwords.
    public func rolesWithSecondFactor() throws -> [Role] {
        try SecondFactorPolicy.roles.filter { try state.requiresSecondFactor(of: $0) }
    }
}
