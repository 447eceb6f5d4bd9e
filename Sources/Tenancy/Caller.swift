public import Foundation
package import Model

/// Who asks, in which role, from where. Made by authentication alone, or by the command line.
public struct Caller: Sendable {
    /// For security events: `client:NAME` or `cli:USER`, followed by ` as systemuser:ID` under impersonation.
    public let actor: String
    public let clientID: UUID?
    /// The systemuser that the caller acts as.
    public let systemUserID: UUID?
    /// What the caller may do follows from all of them.
    public let roles: RoleSet
    /// The address that the request came from, if it came over a network.
    public let address: String?
    public let requestID: String?
    /// The caller that sent the request, where it acts in the name of another user. Then ``systemUserID`` and ``roles`` are that
    /// user's.
    public var impersonation: Impersonation?
    /// When the client proved itself for the token of this request; nil where that is not known.
    public var signedInOn: Date?

    /// The administrator behind a request in the name of another user.
    public struct Impersonation: Sendable {
        /// The systemuser that the administrator itself acts as.
        package let systemUserID: UUID
        package let roles: RoleSet
        /// The business unit of the user in whose name the request is.
        package let businessUnitID: UUID

        package init(systemUserID: UUID, roles: RoleSet, businessUnitID: UUID) {
            self.systemUserID = systemUserID
            self.roles = roles
            self.businessUnitID = businessUnitID
        }
    }

    /// - Parameters:
    ///   - role: The role of the client or the person.
    ///   - granted: Roles that their systemuser was given besides, by itself or as a member of teams.
    package init(
        actor: String, clientID: UUID?, systemUserID: UUID?, role: Role, granted: RoleSet = [], address: String?, requestID: String?
    ) {
        self.init(
            actor: actor, clientID: clientID, systemUserID: systemUserID, roles: granted.union(RoleSet(role)), address: address,
            requestID: requestID)
    }

    package init(
        actor: String, clientID: UUID?, systemUserID: UUID?, roles: RoleSet, address: String?, requestID: String?,
        impersonation: Impersonation? = nil
    ) {
        self.actor = actor
        self.clientID = clientID
        self.systemUserID = systemUserID
        self.roles = roles
        self.address = address
        self.requestID = requestID
        self.impersonation = impersonation
    }

    /// The first of the caller's roles in the order of ``Role/allCases``: System Administrator, if it is among them.
    public var role: Role { roles.leading ?? .basicUser }

    /// An administrator on the command line, who works on the server's own settings.
    public static func commandLine(user: String) -> Caller {
        Caller(
            actor: "cli:\(user)", clientID: nil, systemUserID: nil, role: .systemAdministrator, address: nil, requestID: nil)
    }

    /// How far the caller may send `message` to records of `entity`: under impersonation as far as both users may.
    package func depth(of message: EntityDefinition.Message, on entity: EntityDefinition) -> Depth {
        let depth = PrivilegeTable.depth(of: message, on: entity, for: roles)
        guard let impersonation else { return depth }
        return min(depth, PrivilegeTable.depth(of: message, on: entity, for: impersonation.roles))
    }

    /// How far the caller may write an attribute with a create or an update.
    package func depth(of message: EntityDefinition.Message, writing attribute: String, on entity: EntityDefinition) -> Depth {
        let depth = PrivilegeTable.depth(of: message, writing: attribute, on: entity, for: roles)
        guard let impersonation else { return depth }
        return min(depth, PrivilegeTable.depth(of: message, writing: attribute, on: entity, for: impersonation.roles))
    }
}
