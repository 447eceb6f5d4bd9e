package import Foundation
import JSON
import Model
import PostgresClient

/// The systemusers and teams with the rights of a System Administrator. The holders are read only from rows that the attested list
/// verifies, and only if no row of that list is missing.
///
/// If SQL hides an administrator's row for a moment, the initializer throws. Callers decide and write while the attested list is
/// locked.
package struct RoleHolders {
    private var users: Set<UUID> = []
    private var teams: Set<UUID> = []
    private let change: AttestedChange

    /// - Throws: ``FieldsealError`` that names the row that SQL changed, or says that SQL deleted rows.
    init(_ change: AttestedChange, on connection: isolated PostgresConnection) throws {
        self.change = change
        var listed = try ListedNames(
            of: change.organization, except: [.client, .user, .userRole, .teamRole, .teamMember], on: connection)
        try readClients(&listed, on: connection)
        try readPeople(&listed, on: connection)
        try readLinks(&listed, on: connection)
        guard try listed.missingWithoutUsers(in: change.grants, on: connection) == 0 else {
            throw FieldsealError(
                .organizationDisabled,
                "Rows that grant access were deleted by SQL, and not by the service, so it is not known who is a System "
                    + "Administrator. Restore them, or "
                    + "accept that they are gone: fieldseal org attach. See fieldseal doctor.")
        }
    }

    /// Whether a systemuser has the role System Administrator, by its client, its person or its records. A disabled systemuser
    /// counts too.
    package func isAdministrator(_ user: UUID) -> Bool { users.contains(user) }

    /// Whether a team has the role System Administrator, and so gives it to its members.
    package func makesAdministrators(_ team: UUID) -> Bool { teams.contains(team) }

    private mutating func readClients(_ listed: inout ListedNames, on connection: isolated PostgresConnection) throws {
        let rows = try connection.query(
            "SELECT client_id, name, systemuser_id, role, tag, disabled_on FROM config.api_client WHERE organization_id = $1",
            [.uuid(change.organization.id)])
        for row in rows {
            let (name, user, role): (String, UUID, String) = (try row.decode(1), try row.decode(2), try row.decode(3))
            let grant = OrganizationState.ClientRow.grant(
                try row.decode(0), change.organization, name: name, systemUser: user, role: role,
                disabledOn: try row.decodeIfPresent(5))
            try listed.add(grant.name)
            try take(grant, name, try row.decode(4, as: PostgresBytes.self).bytes, isDisabled: !row.isNull(5), role, user)
        }
    }

    private mutating func readPeople(_ listed: inout ListedNames, on connection: isolated PostgresConnection) throws {
        let rows = try connection.query(
            """
            SELECT user_id, name, systemuser_id, role, salt, verifier, totp, disabled_on, must_change_password, tag
              FROM config.console_user WHERE organization_id = $1
            """, [.uuid(change.organization.id)])
        for row in rows {
            func bytes(_ column: Int) throws -> [UInt8] { try row.decode(column, as: PostgresBytes.self).bytes }
            let (name, user, role): (String, UUID, String) = (try row.decode(1), try row.decode(2), try row.decode(3))
            let grant = Grant.person(
                try row.decode(0), organization: change.organization.id, name: name, systemUser: user, role: role,
                salt: try bytes(4),
                verifier: try bytes(5), totp: row.isNull(6) ? nil : try bytes(6), disabledOn: try row.decodeIfPresent(7),
                mustChangePassword: try row.decode(8))
            try listed.add(grant.name)
            try take(grant, name, try bytes(9), isDisabled: !row.isNull(7), role, user)
        }
    }

    /// Adds the systemuser of a client or person that has the role System Administrator. Ignores a row that this service never
    /// wrote.
    private mutating func take(
        _ grant: Grant, _ name: String, _ tag: [UInt8], isDisabled: Bool, _ role: String, _ user: UUID
    ) throws {
        guard try change.grants.names(grant.name) else { return }
        guard try change.grants.isNewest(grant, tag: tag, isDisabled: isDisabled, under: change.kek) else {
            throw FieldsealError(
                .organizationDisabled,
                "The row of \(name.quotedForMessage) was changed by SQL, and not by the service, so it is not known who is a System "
                    + "Administrator. Remove "
                    + "that person or client, and add another. See fieldseal doctor.")
        }
        if role == Role.systemAdministrator.rawValue { users.insert(user) }
    }

    /// Adds the users and teams to which records give the role System Administrator. The attested list decides which role a row
    /// gives, even if the role's record was renamed.
    private mutating func readLinks(_ listed: inout ListedNames, on connection: isolated PostgresConnection) throws {
        func pairs(_ table: String, _ columns: String) throws -> [(first: UUID, second: UUID)] {
            try connection.query("SELECT \(columns) FROM \(change.organization.qualified(table))").map {
                (try $0.decode(0), try $0.decode(1))
            }
        }
        let (grants, kek, role) = (change.grants, change.kek, Role.systemAdministrator.rawValue)
        for (user, id) in try pairs("systemuserroles", "systemuserid, roleid") {
            let grant = Grant.userRole(id, role, of: user)
            try listed.add(grant.name)
            if try grants.holds(grant, under: kek) { users.insert(user) }
        }
        for (team, id) in try pairs("teamroles", "teamid, roleid") {
            let grant = Grant.teamRole(id, role, of: team)
            try listed.add(grant.name)
            if try grants.holds(grant, under: kek) { teams.insert(team) }
        }
        for (team, user) in try pairs("teammembership", "teamid, systemuserid") {
            let grant = Grant.member(user, of: team)
            try listed.add(grant.name)
            if try teams.contains(team) && grants.holds(grant, under: kek) { users.insert(user) }
        }
    }
}

extension AttestedChange {
    /// The holders of the rights of a System Administrator.
    ///
    /// - Throws: ``FieldsealError`` if rows that grant access are missing, or SQL changed them.
    func roleHolders(on connection: isolated PostgresConnection) throws -> RoleHolders {
        try RoleHolders(self, on: connection)
    }
}
