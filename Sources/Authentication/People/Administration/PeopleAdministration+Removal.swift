import Foundation
import PostgresClient
import Tenancy

extension PeopleAdministration {
    /// Removes a person with their password, second factor, sessions and links to providers. Their systemuser stays, disabled,
    /// because records refer to it.
    ///
    /// - Parameter evenIfLast: Whether the last System Administrator may be removed.
    /// - Throws: ``FieldsealError`` when there is no such person, or no other System Administrator.
    package func remove(_ name: String, evenIfLast: Bool = false) async throws {
        try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                guard let (user, _, _) = try ConsoleUsers.row(named: name, &change, on: connection) else {
                    throw Self.unknown(name)
                }
                try Invitation.end(of: user.id, &change, on: connection)
                try SecondFactor.removeCodes(of: user.id, &change, on: connection)
                try ConsoleSessions.end("user_id = $1", [.uuid(user.id)], &change, on: connection)
                try TrustedIssuers.removeLinks("user_id = $1", [.uuid(user.id)], &change, on: connection)
                try change.keepingAnAdministrator(evenIfLast: evenIfLast, on: connection) { change in
                    _ = try connection.query("DELETE FROM config.console_user WHERE user_id = $1", [.uuid(user.id)])
                    try change.remove(ConsoleUsers.name(user.id))
                    try change.disableSystemUser(user.systemUserID, by: caller, on: connection)
                }
                try change.append(
                    SecurityEvent(.userRemoved, .succeeded, details: user.name), by: caller, on: connection)
            }
        }
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
