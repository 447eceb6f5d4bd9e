package import Foundation
package import Model

/// The caller of an operation: its roles and its address. Only authentication and the command line create callers.
package struct Caller: Sendable {
    /// The name in security events: `client:NAME`, `user:NAME` or `cli:USER`, followed by ` as systemuser:ID` under impersonation.
    package let actor: String
    package let clientID: UUID?
    /// The systemuser that the caller acts as.
    package let systemUserID: UUID?
    /// The caller's rights follow from all of these roles.
    package let roles: RoleSet
    /// The address of the request, if it came over a network.
    package let address: String?
    package let requestID: String?
    /// The person who ran a command, as the operating system reports them. The report is no proof, and gives no right.
    package private(set) var operatorClaim: String?
    /// The caller that sent the request, if it acts for another user. Then ``systemUserID`` and ``roles`` belong to the other user.
    package var impersonation: Impersonation?
    /// The time at which the client authenticated for the token of this request; nil if it is unknown.
    package var signedInOn: Date?

    /// The administrator that sent a request in the name of another user.
    package struct Impersonation: Sendable {
        /// The administrator's own systemuser.
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
    ///   - granted: Further roles of the caller's systemuser, given directly or by teams.
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

    /// The first of the caller's roles in the order of ``Role/allCases``, which begins with System Administrator.
    package var role: Role { roles.leading ?? .basicUser }

    /// An administrator on the command line, with the server's own settings.
    ///
    /// - Parameter operatorClaim: The name of the person who signed in to the machine, if it is not `user`.
    package static func commandLine(user: String, operatorClaim: String? = nil) -> Caller {
        var caller = Caller(
            actor: "cli:\(user)", clientID: nil, systemUserID: nil, role: .systemAdministrator, address: nil, requestID: nil)
        caller.operatorClaim = operatorClaim
        return caller
    }

    /// The address column of the caller's security events: the network address, or for a command ``RecordedEvent/operatorPrefix``
    /// and the person's name.
    var recordedAddress: String? { address ?? operatorClaim.map { RecordedEvent.operatorPrefix + $0 } }

    /// The depth to which the caller may send `message` to records of `entity`. Under impersonation, both users must have that
    /// depth.
    package func depth(of message: EntityDefinition.Message, on entity: EntityDefinition) -> PrivilegeDepth {
        let depth = PrivilegeTable.depth(of: message, on: entity, for: roles)
        guard let impersonation else { return depth }
        return min(depth, PrivilegeTable.depth(of: message, on: entity, for: impersonation.roles))
    }

    /// The depth to which the caller may write an attribute with a create or an update.
    package func depth(of message: EntityDefinition.Message, writing attribute: String, on entity: EntityDefinition)
        -> PrivilegeDepth
    {
        let depth = PrivilegeTable.depth(of: message, writing: attribute, on: entity, for: roles)
        guard let impersonation else { return depth }
        return min(depth, PrivilegeTable.depth(of: message, writing: attribute, on: entity, for: impersonation.roles))
    }
}
