import CellCrypto
package import Foundation
import JSON
import Model
package import PostgresClient

// What ends when a person gets rights that they did not have. Another person may have set the password, made the link, or begun a
// session. With it, they could use the new rights.
extension AttestedChange {
    /// Ends a person's sessions and unused invitation. Also ends the password, unless it is on record that the person chose it.
    ///
    /// - Parameter hashing: Makes the salt that replaces the password's.
    /// - Returns: Whether the password ended. The person then needs a link to choose another one.
    @discardableResult
    package mutating func endFormerAccess(
        of person: UUID, by caller: Caller, _ hashing: PasswordHashing, on connection: isolated PostgresConnection
    ) throws -> Bool {
        let rows = try connection.query(
            """
            SELECT name, systemuser_id, role, salt, verifier, totp, disabled_on, must_change_password, tag FROM config.console_user
             WHERE organization_id = $1 AND user_id = $2 FOR UPDATE
            """, [.uuid(organization.id), .uuid(person)])
        guard let row = rows.first else { return false }
        func bytes(_ column: Int) throws -> [UInt8] { try row.decode(column, as: PostgresBytes.self).bytes }
        let (name, disabledOn): (String, PostgresMoment?) = (try row.decode(0), try row.decodeIfPresent(6))
        func grant(salt: [UInt8], verifier: [UInt8], mustChangePassword: Bool) throws -> Grant {
            Grant.person(
                person, organization: organization.id, name: name, systemUser: try row.decode(1), role: try row.decode(2),
                salt: salt, verifier: verifier, totp: row.isNull(5) ? nil : try bytes(5), disabledOn: disabledOn,
                mustChangePassword: mustChangePassword)
        }
        let former = try grant(salt: bytes(3), verifier: bytes(4), mustChangePassword: row.decode(7))
        // With a row that SQL changed, the person can't sign in.
        guard try grants.isNewest(former, tag: bytes(8), isDisabled: disabledOn != nil, under: kek) else { return false }
        try endSessions(of: person, on: connection)
        try endInvitation(of: person, on: connection)
        let isOwn = try grants.holds(.ownPassword(of: person, salt: bytes(3)), under: kek)
        if !isOwn {
            let salt = try hashing.newSalt()
            // No password has this verifier.
            let verifier = try PasswordHashing.verifier(of: randomBytes(count: 32), salt: salt, under: kek)
            let new = try grant(salt: salt, verifier: verifier, mustChangePassword: false)
            let tag = try new.tag(under: kek)
            _ = try connection.query(
                "UPDATE config.console_user SET salt = $2, verifier = $3, tag = $4, must_change_password = false WHERE user_id = $1",
                [.uuid(person), .bytes(salt), .bytes(verifier), .bytes(tag)])
            if disabledOn == nil { _ = try self.grant(new) } else { try revoke(new.name, tag: tag) }
        }
        let details = "\(name): \(isOwn ? "sessions ended" : "sessions and password ended")"
        try append(SecurityEvent(.userChanged, .succeeded, details: details), by: caller, on: connection)
        return !isOwn
    }

    /// Ends all sessions of a person, also those whose rows were hidden by SQL.
    package mutating func endSessions(of person: UUID, on connection: isolated PostgresConnection) throws {
        let ended = try connection.query(
            "DELETE FROM config.console_session WHERE user_id = $1 RETURNING token_hash", [.uuid(person)])
        for row in ended { try remove(.session(try row.decode(0, as: PostgresBytes.self).bytes)) }
        try end(.sessions(of: person))
    }

    /// Ends the unused invitation of a person.
    ///
    /// - Returns: Whether there was an unused invitation.
    @discardableResult
    package mutating func endInvitation(of person: UUID, on connection: isolated PostgresConnection) throws -> Bool {
        let name = Grant.Name.invitation(of: person)
        let waited = try names(name)
        try remove(name)
        _ = try connection.query(
            """
            UPDATE config.console_user SET invitation = NULL, invited_by = NULL, invited_until = NULL
             WHERE user_id = $1 AND invitation IS NOT NULL
            """, [.uuid(person)])
        return waited
    }
}
