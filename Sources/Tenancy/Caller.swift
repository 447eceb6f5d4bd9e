public import Foundation
package import Model

/// Who asks, in which role, from where. Made by authentication alone, or by the command line.
public struct Caller: Sendable {
    /// For security events: `client:NAME` or `cli:USER`, followed by ` as systemuser:ID` under impersonation.
    public let actor: String
    public let clientID: UUID?
    /// The systemuser that the caller acts as.
    public let systemUserID: UUID?
    public let role: Role
    /// The address that the request came from, if it came over a network.
    public let address: String?
    public let requestID: String?
    /// The caller that sent the request, where it acts in the name of another user. Then ``systemUserID`` and ``role`` are that
    /// user's.
    public var impersonation: Impersonation?

    package init(
        actor: String,
        clientID: UUID?,
        systemUserID: UUID?,
        role: Role,
        address: String?,
        requestID: String?,
        impersonation: Impersonation? = nil
    ) {
        self.actor = actor
        self.clientID = clientID
        self.systemUserID = systemUserID
        self.role = role
        self.address = address
        self.requestID = requestID
        self.impersonation = impersonation
    }

    /// The administrator behind a request in the name of another user.
    public struct Impersonation: Sendable {
        /// The systemuser that the administrator itself acts as.
        package let systemUserID: UUID
        package let role: Role
        /// The business unit of the user in whose name the request is.
        package let businessUnitID: UUID

        package init(systemUserID: UUID, role: Role, businessUnitID: UUID) {
            self.systemUserID = systemUserID
            self.role = role
            self.businessUnitID = businessUnitID
        }
    }

    /// An administrator on the command line, who works on the server's own settings.
    public static func commandLine(user: String) -> Caller {
        Caller(
            actor: "cli:\(user)", clientID: nil, systemUserID: nil, role: .systemAdministrator, address: nil, requestID: nil)
    }

    /// How far the caller may send `message` to records of `entity`: under impersonation as far as both users may.
    package func depth(of message: EntityDefinition.Message, on entity: EntityDefinition) -> Depth {
        let depth = PrivilegeTable.depth(of: message, on: entity, for: role)
        guard let impersonation else { return depth }
        return min(depth, PrivilegeTable.depth(of: message, on: entity, for: impersonation.role))
    }

    /// Whether the caller may set and clear the encrypted attributes of records that it may update.
    package var maySetPasswords: Bool {
        PrivilegeTable.maySetPasswords(role) && impersonation.map { PrivilegeTable.maySetPasswords($0.role) } ?? true
    }

    /// Whether the caller may write an attribute of records that it may create or update.
    package func mayWrite(_ attribute: String, of entity: EntityDefinition) -> Bool {
        PrivilegeTable.mayWrite(attribute, of: entity, role)
            && impersonation.map { PrivilegeTable.mayWrite(attribute, of: entity, $0.role) } ?? true
    }
}
