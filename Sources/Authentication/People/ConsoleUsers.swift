import CellCrypto
package import Foundation
import JSON
import Model
package import PostgresClient
package import Tenancy

/// The people who sign in to the console of an organization.
package struct ConsoleUsers: Sendable {
    let deployment: Deployment

    package init(_ deployment: Deployment) { self.deployment = deployment }

    /// A row of `config.console_user`, unverified.
    package struct Row: Sendable {
        package let id: UUID
        package let organizationID: UUID
        package let name: String
        package let systemUserID: UUID
        package var role: Role
        package let salt: [UInt8]
        package var verifier: [UInt8]
        /// The sealed seed of one-time passwords, if they are on.
        package var totp: [UInt8]?
        package var disabledOn: PostgresMoment?
        /// Whether an administrator set the password, so that the person must choose another one.
        package var mustChangePassword = false

        /// The attested contents of the row.
        package var grant: Grant {
            Grant.person(
                id, organization: organizationID, name: name, systemUser: systemUserID, role: role.rawValue, salt: salt,
                verifier: verifier, totp: totp, disabledOn: disabledOn, mustChangePassword: mustChangePassword)
        }

        /// Whether the person's row is as this service wrote it last.
        func isNewest(_ tag: [UInt8], in grants: GrantList, under kek: KeyEncryptionKey) throws -> Bool {
            try grants.isNewest(grant, tag: tag, isDisabled: disabledOn != nil, under: kek)
        }
    }

    static func name(_ id: UUID) -> Grant.Name { Grant.personName(id) }

    /// The migration that first attests rows also reads these columns in an older schema, which may lack the newest of them.
    package static let columns = """
        u.user_id, u.organization_id, u.name, u.systemuser_id, u.role, u.salt, u.verifier, u.tag, u.totp, u.disabled_on, \
        coalesce((to_jsonb(u) ->> 'must_change_password')::boolean, false)
        """
    static let columnCount = 11

    /// Reads ``columns``.
    ///
    /// - Returns: Nil for a role that this program does not know.
    package static func row(_ row: PostgresRow) throws -> (row: Row, tag: [UInt8])? { try self.row(row, at: 0) }

    /// - Parameter first: The index of the first of ``columns``.
    static func row(_ row: PostgresRow, at first: Int) throws -> (row: Row, tag: [UInt8])? {
        func bytes(_ column: Int) throws -> [UInt8] { try row.decode(first + column, as: PostgresBytes.self).bytes }
        guard let role = Role(rawValue: try row.decode(first + 4)) else { return nil }
        let user = Row(
            id: try row.decode(first), organizationID: try row.decode(first + 1), name: try row.decode(first + 2),
            systemUserID: try row.decode(first + 3), role: role, salt: try bytes(5), verifier: try bytes(6),
            totp: row.isNull(first + 8) ? nil : try bytes(8), disabledOn: try row.decodeIfPresent(first + 9),
            mustChangePassword: try row.decode(first + 10))
        return (user, try bytes(7))
    }

    /// The user that matches a condition, if this service wrote the row, and the user and its systemuser are enabled.
    ///
    /// - Parameter condition: A condition over `config.console_user AS u`. The parameters of the condition begin at `$2`.
    func find(
        _ condition: String,
        _ parameters: [PostgresParameter],
        in state: OrganizationState,
        on connection: isolated PostgresConnection
    ) throws -> Row? {
        let rows = try connection.query(
            """
            SELECT \(Self.columns), coalesce(s.isdisabled, false) FROM config.console_user AS u
              LEFT JOIN \(state.organization.qualified("systemuser")) AS s ON s.systemuserid = u.systemuser_id
             WHERE u.organization_id = $1 AND \(condition)
            """, [.uuid(state.organization.id)] + parameters)
        guard let row = rows.first, let (user, tag) = try Self.row(row),
            try !row.decode(Self.columnCount, as: Bool.self), try mayAct(user, tag: tag, in: state)
        else { return nil }
        return user
    }

    /// Whether this service wrote the user's row, the user is enabled, and the service did not disable the systemuser.
    func mayAct(_ user: Row, tag: [UInt8], in state: OrganizationState) throws -> Bool {
        try user.disabledOn == nil && state.grants.authenticates(user.grant, tag: tag, under: deployment.kek)
            && !state.isDisabled(systemUser: user.systemUserID)
    }

    /// Stores a new verifier for the same password.
    ///
    /// - Parameter derived: The result of ``PasswordHashing``.
    func store(
        _ derived: [UInt8], of user: Row, _ change: inout AttestedChange, on connection: isolated PostgresConnection
    ) throws {
        var user = user
        user.verifier = try PasswordHashing.verifier(of: derived, salt: user.salt, under: change.kek)
        _ = try connection.query(
            "UPDATE config.console_user SET verifier = $2, tag = $3 WHERE user_id = $1",
            [.uuid(user.id), .bytes(user.verifier), .bytes(try change.grant(user.grant))])
    }

    /// Stores a new password that the person chose, and puts on record that they did. All sessions of the person end. One-time passwords stay on.
    ///
    /// - Parameter derived: The result of ``PasswordHashing``.
    func replacePassword(
        of old: Row,
        _ salt: [UInt8],
        _ derived: [UInt8],
        _ change: inout AttestedChange,
        on connection: isolated PostgresConnection
    ) throws -> Row {
        let user = Row(
            id: old.id, organizationID: old.organizationID, name: old.name, systemUserID: old.systemUserID, role: old.role,
            salt: salt, verifier: try PasswordHashing.verifier(of: derived, salt: salt, under: change.kek), totp: old.totp,
            disabledOn: old.disabledOn)
        _ = try connection.query(
            "UPDATE config.console_user SET salt = $2, verifier = $3, tag = $4, must_change_password = false WHERE user_id = $1",
            [.uuid(user.id), .bytes(salt), .bytes(user.verifier), .bytes(try change.grant(user.grant))])
        _ = try change.grant(.ownPassword(of: user.id, salt: salt))
        try change.endInvitation(of: user.id, on: connection)
        try ConsoleSessions.end("user_id = $1", [.uuid(user.id)], &change, on: connection)
        return user
    }

    /// Locks the row with a name. Returns the row and what the attested list says about it.
    static func row(
        named name: String,
        _ change: inout AttestedChange,
        on connection: isolated PostgresConnection
    ) throws -> (row: Row, tag: [UInt8], standing: GrantList.Standing)? {
        let rows = try connection.query(
            "SELECT \(columns) FROM config.console_user AS u WHERE organization_id = $1 AND lower(name) = lower($2) FOR UPDATE",
            [.uuid(change.organization.id), .text(name)])
        guard let (user, tag) = try rows.first.flatMap(row) else { return nil }
        return (user, tag, try change.grants.standing(of: user.grant, tag: tag, under: change.kek))
    }

    static func foreign(_ name: String) -> FieldsealError {
        FieldsealError(
            .accessDenied,
            "The row of \(name.quotedForMessage) in config was changed by SQL, and not by the service. The password was not "
                + "reset, because it is not known what the row grants. Remove that person, and add them again: fieldseal user "
                + "remove, fieldseal user add.")
    }
}
