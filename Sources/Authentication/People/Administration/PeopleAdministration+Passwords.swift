import CellCrypto
package import Foundation
import Model
import PostgresClient
package import Tenancy

// Passwords of people, and the links with which they choose one.
extension PeopleAdministration {
    /// Days for which an invitation is valid.
    package static let invitationDays = 7

    /// Makes a token with which a person chooses a password once. The token is valid for a week, and only until the password
    /// changes. The new token replaces an earlier token that was not used.
    package func invite(_ id: UUID) async throws -> String {
        try await change(id) { user, change, connection in
            guard user.disabledOn == nil else {
                throw FieldsealError(.invalidArgument, "\(user.name.quotedForMessage) is disabled. Enable the person first.")
            }
            try change.requireAccessControl(to: user, "invite", by: caller, on: connection)
            let token = try Invitation.make(
                for: user, days: Self.invitationDays, by: caller, &change, on: connection)
            try change.append(
                SecurityEvent(.userChanged, .succeeded, details: "\(user.name): invited to choose a password"), by: caller,
                on: connection)
            return token
        }
    }

    /// Ends the unused invitation of a person, if there is one.
    package func withdrawInvitation(of id: UUID) async throws {
        try await change(id) { user, change, connection in
            guard try change.endInvitation(of: id, on: connection) else { return }
            try change.append(
                SecurityEvent(.userChanged, .succeeded, details: "\(user.name): invitation withdrawn"), by: caller,
                on: connection)
        }
    }

    /// Sets a password that the person must change at their next sign-in. Also turns the person's one-time passwords off, enables
    /// the person, and ends the person's sessions.
    ///
    /// - Returns: The person's role, which does not change.
    /// - Throws: ``FieldsealError`` when there is no such person, or this service did not write the row.
    @discardableResult
    package func reset(_ name: String, password: String) async throws -> Role {
        try PasswordRules.check(password, of: name, in: organization.name)
        let salt = try deployment.hashing.newSalt()
        let derived = try await deployment.hashing.derive(password, salt: salt, for: asker)
        return try await session.requestingApproval { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                guard let (old, tag, _) = try ConsoleUsers.row(named: name, &change, on: connection) else {
                    throw Self.unknown(name)
                }
                guard try old.isNewest(tag, in: change.grants, under: change.kek) else {
                    throw ConsoleUsers.foreign(name)
                }
                try change.requireAccessControl(to: old, "reset the password of", by: caller, on: connection)
                let user = ConsoleUsers.Row(
                    id: old.id, organizationID: old.organizationID, name: old.name, systemUserID: old.systemUserID, role: old.role,
                    salt: salt, verifier: try PasswordHashing.verifier(of: derived, salt: salt, under: change.kek),
                    mustChangePassword: true)
                _ = try connection.query(
                    """
                    UPDATE config.console_user SET salt = $2, verifier = $3, tag = $4, totp = NULL, disabled_on = NULL,
                           must_change_password = true WHERE user_id = $1
                    """, [.uuid(user.id), .bytes(salt), .bytes(user.verifier), .bytes(try change.grant(user.grant))])
                try change.endInvitation(of: user.id, on: connection)
                try change.remove(.ownPassword(of: user.id))
                try SecondFactor.removeCodes(of: user.id, &change, on: connection)
                try ConsoleSessions.end("user_id = $1", [.uuid(user.id)], &change, on: connection)
                try change.append(
                    SecurityEvent(.userReset, .succeeded, details: "\(name), \(user.role.rawValue)"), by: caller,
                    on: connection)
                return user.role
            }
        }
    }

    /// Whether this is a person's password. `make run` uses this function before it prints the password.
    package func hasPassword(_ password: String, _ name: String) async throws -> Bool {
        let found = try await deployment.pool.withConnection { connection -> (ConsoleUsers.Row, [SecretBytes])? in
            guard let user = try ConsoleUsers(deployment).find("u.name = $2", [.text(name)], in: session.state, on: connection)
            else { return nil }
            return (user, try VerifierLayers.read(of: user, under: deployment.kek, on: connection))
        }
        guard let (user, layers) = found else { return false }
        let derived = try await deployment.hashing.derive(password, salt: user.salt, for: asker)
        let check = try deployment.hashing.check(derived, stored: user.verifier, salt: user.salt, layers: layers)
        return check == .current || check == .outdated
    }
}
