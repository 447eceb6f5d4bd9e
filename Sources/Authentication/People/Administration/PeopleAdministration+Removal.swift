import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

extension PeopleAdministration {
    /// Removes a person with their password, second factor, sessions and links to providers. The person's systemuser is disabled
    /// but not removed, because records refer to it.
    ///
    /// - Parameters:
    ///   - name: The name, or the id. A person whose row SQL changed is removed by the id.
    ///   - evenIfLast: Whether the last System Administrator may be removed.
    /// - Throws: ``FieldsealError`` when there is no such person; and for the last System Administrator if `evenIfLast` is false.
    package func remove(_ name: String, evenIfLast: Bool = false) async throws {
        try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                guard let (user, tag, _) = try ConsoleUsers.row(toEnd: name, &change, on: connection) else {
                    throw Self.unknown(name)
                }
                // A row that SQL changed does not say reliably which systemuser the person acted as.
                let isOwn = try user.isNewest(tag, in: change.grants, under: change.kek)
                try change.endInvitation(of: user.id, on: connection)
                try SecondFactor.removeCodes(of: user.id, &change, on: connection)
                try ConsoleSessions.end("user_id = $1", [.uuid(user.id)], &change, on: connection)
                try change.remove(.sessions(of: user.id))
                try change.remove(.ownPassword(of: user.id))
                try TrustedIssuers.removeLinks("user_id = $1", [.uuid(user.id)], &change, on: connection)
                try change.keepingAnAdministrator(evenIfLast: evenIfLast, on: connection) { change in
                    _ = try connection.query("DELETE FROM config.console_user WHERE user_id = $1", [.uuid(user.id)])
                    try change.remove(ConsoleUsers.name(user.id))
                    if isOwn { try change.disableSystemUser(user.systemUserID, by: caller, on: connection) }
                }
                try change.append(
                    SecurityEvent(.userRemoved, .succeeded, details: Self.title(of: user, isOwn: isOwn)), by: caller,
                    on: connection)
            }
        }
    }

    /// How events name a person. If SQL changed the row, its name may be another person's, so the id is added.
    static func title(of user: ConsoleUsers.Row, isOwn: Bool) -> String {
        isOwn ? user.name : "\(user.name), \(user.id.text), whose row was changed by SQL"
    }

    /// Disables a person whose row SQL deleted. If the row is restored, it grants nothing.
    ///
    /// - Throws: ``FieldsealError`` if the attested list has no person with that id.
    func disableHidden(
        _ id: String, _ change: inout AttestedChange, on connection: isolated PostgresConnection
    ) throws {
        guard let person = UUID(text: id.lowercased()), try change.names(ConsoleUsers.name(person)) else { throw Self.unknown(id) }
        try change.revoke(ConsoleUsers.name(person))
        try change.endInvitation(of: person, on: connection)
        try change.endSessions(of: person, on: connection)
        try change.append(
            SecurityEvent(.userDisabled, .succeeded, details: "\(person.text), whose row was deleted by SQL"),
            by: caller, on: connection)
    }
}

extension ConsoleUsers {
    /// Locks and returns the row of a person whose access is to end. A name only finds a row that this service wrote last. An id
    /// also finds a row that SQL changed.
    ///
    /// - Throws: ``FieldsealError`` for a name on a row that SQL wrote or changed.
    static func row(
        toEnd nameOrID: String, _ change: inout AttestedChange, on connection: isolated PostgresConnection
    ) throws -> (row: Row, tag: [UInt8], standing: GrantList.Standing)? {
        if let id = UUID(text: nameOrID.lowercased()) {
            let rows = try connection.query(
                "SELECT \(columns) FROM config.console_user AS u WHERE organization_id = $1 AND user_id = $2 FOR UPDATE",
                [.uuid(change.organization.id), .uuid(id)])
            if let (user, tag) = try rows.first.flatMap(row) {
                return (user, tag, try change.grants.standing(of: user.grant, tag: tag, under: change.kek))
            }
            // If only the attested list has this id, SQL hid the row. The id is not looked up as a name then, because another
            // person may have it as their name.
            if try change.names(name(id)) { return nil }
        }
        guard let found = try row(named: nameOrID, &change, on: connection) else { return nil }
        guard try found.row.isNewest(found.tag, in: change.grants, under: change.kek) else {
            throw FieldsealError.notTheNamedRow(found.row.name, found.row.id)
        }
        return found
    }
}

extension FieldsealError {
    /// The error for a name that is on a row that SQL wrote or changed. SQL may be hiding the row that really has the name.
    static func notTheNamedRow(_ name: String, _ id: UUID) -> FieldsealError {
        FieldsealError(
            .accessDenied,
            "The row with the name \(name.quotedForMessage) was made or changed by SQL, and not by the service, so the name may be "
                + "that of another row. See "
                + "fieldseal doctor. To end the access that this row gives, use its id: \(id.text).")
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
