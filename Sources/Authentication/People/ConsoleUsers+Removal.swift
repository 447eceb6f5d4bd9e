package import Foundation
import PostgresClient
package import Tenancy

extension ConsoleUsers {
    /// Removes a person with their password, second factor, sessions and links to providers. Their systemuser stays, disabled,
    /// because records refer to it.
    ///
    /// - Parameter evenIfLast: Whether the last System Administrator may be removed.
    /// - Throws: ``FieldsealError`` when there is no such person, or no other System Administrator.
    package func remove(_ name: String, evenIfLast: Bool = false, by session: Session) async throws {
        try session.requireSystemAdministrator(to: "manage console users")
        let organization = session.organization
        try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                guard let (user, _, _) = try Self.row(named: name, &change, on: connection) else { throw Self.unknown(name) }
                try Invitation.end(of: user.id, &change, on: connection)
                try SecondFactor.removeCodes(of: user.id, &change, on: connection)
                try ConsoleSessions.end("user_id = $1", [.uuid(user.id)], &change, on: connection)
                try TrustedIssuers.removeLinks("user_id = $1", [.uuid(user.id)], &change, on: connection)
                try change.keepingAnAdministrator(evenIfLast: evenIfLast, on: connection) { change in
                    _ = try connection.query("DELETE FROM config.console_user WHERE user_id = $1", [.uuid(user.id)])
                    try change.remove(Self.name(user.id))
                    try change.disableSystemUser(user.systemUserID, by: session.caller, on: connection)
                }
                try change.append(
                    SecurityEvent(.userRemoved, .succeeded, details: user.name), by: session.caller, on: connection)
            }
        }
    }

    /// The id of a person by their name.
    ///
    /// - Throws: ``FieldsealError`` when there is no such person, or SQL changed the row. Another row could have its name.
    package func id(of name: String, by session: Session) async throws -> UUID {
        guard let entry = try await list(by: session).first(where: { $0.name.lowercased() == name.lowercased() }) else {
            throw Self.unknown(name)
        }
        guard entry.isAuthentic else { throw Self.foreign(name) }
        return entry.id
    }
}

extension AttestedChange {
    /// Disables the systemuser of a removed person or client.
    mutating func disableSystemUser(_ id: UUID, by caller: Caller, on connection: isolated PostgresConnection) throws {
        _ = try connection.pipeline([caller.auditSettings])
        _ = try connection.query(
            """
            UPDATE \(organization.qualified("systemuser")) SET isdisabled = true, modifiedon = now(),
                   versionnumber = nextval('\(organization.qualified("version_number"))')
             WHERE systemuserid = $1 AND NOT coalesce(isdisabled, false)
            """, [.uuid(id)])
        _ = try grant(Grant.disabledSystemUser(id))
    }
}
