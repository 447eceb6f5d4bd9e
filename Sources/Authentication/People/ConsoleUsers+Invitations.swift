import CellCrypto
import Foundation
import Model
import PostgresClient
package import Tenancy

// Links with which people choose a password.
extension ConsoleUsers {
    /// The name of the person whom an invitation is for; nil if the invitation is not valid.
    package func invited(_ token: String, to organization: Organization) async throws -> String? {
        try await person(invitedBy: token, to: organization)?.name
    }

    private func person(invitedBy token: String, to organization: Organization) async throws -> (id: UUID, name: String)? {
        try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
            return try self.user(invitedBy: token, in: state, on: connection).map { ($0.id, $0.name) }
        }
    }

    /// Sets the password that an invited person chose.
    ///
    /// - Throws: ``FieldsealError`` `.accessDenied` for an invitation that is not valid; `.invalidArgument` for the password.
    package func accept(_ token: String, password: String, to organization: Organization, address: String, requestID: String)
        async throws
    {
        guard let (id, name) = try await person(invitedBy: token, to: organization) else { throw Self.noInvitation }
        try PasswordRules.check(password, of: name, in: organization.name)
        let salt = try deployment.hashing.newSalt()
        // The link is valid, so strangers can't take the person's place in the queue.
        let derived = try await deployment.hashing.derive(password, salt: salt, for: .person(id))
        try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                // While the password's hash was computed, another request may have used the invitation.
                let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
                guard let user = try self.user(invitedBy: token, in: state, on: connection) else { throw Self.noInvitation }
                let caller = Caller(
                    actor: "user:\(user.name)", clientID: nil, systemUserID: user.systemUserID, role: user.role, address: address,
                    requestID: requestID)
                _ = try replacePassword(of: user, salt, derived, &change, on: connection)
                try change.append(
                    SecurityEvent(.userReset, .succeeded, details: "\(user.name), by invitation"), by: caller, on: connection)
            }
        }
    }

    private static let noInvitation = FieldsealError(
        .accessDenied,
        "This invitation was used already, was withdrawn or replaced, or has expired. Ask an administrator for another one.")

    private func user(
        invitedBy token: String, in state: OrganizationState, on connection: isolated PostgresConnection
    ) throws -> Row? {
        guard let (id, hash) = try Invitation.parse(token),
            let invitation = try Invitation.all(of: state.organization, on: connection).first(where: { $0.person == id }),
            try invitation.isValid(for: hash, in: state.grants, under: deployment.kek)
        else { return nil }
        return try find("u.user_id = $2", [.uuid(id)], in: state, on: connection)
    }
}
