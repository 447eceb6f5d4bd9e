import CellCrypto
package import Foundation
import JSON
import Model
package import PostgresClient
import Records
package import Tenancy

/// The people who sign in to the console of an organization.
package struct ConsoleUsers: Sendable {
    let deployment: Deployment

    package init(_ deployment: Deployment) { self.deployment = deployment }

    /// A person in a list.
    package struct Entry: Sendable {
        package let id: UUID
        package let name: String
        package let role: String
        package let createdOn: Date
        package let disabledOn: Date?
        /// Whether this service wrote the row.
        package let isAuthentic: Bool
        package let systemUserID: UUID
        /// Whether each sign-in needs a one-time password.
        package let hasSecondFactor: Bool
        /// The number of running sessions.
        package let sessions: Int
        /// Whether they must choose another password at their next sign-in.
        package let mustChangePassword: Bool
        /// The link with which they may choose a password; nil if none waits.
        package let invitation: Invitation?
        /// When the link ended that was not used; nil for none.
        package let invitationEnded: Date?
    }

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

        /// Whether this is the last row of the person that this service wrote.
        func isNewest(_ tag: [UInt8], in grants: GrantList, under kek: KeyEncryptionKey) throws -> Bool {
            try grants.isNewest(grant, tag: tag, isDisabled: disabledOn != nil, under: kek)
        }
    }

    static func name(_ id: UUID) -> Grant.Name { Grant.personName(id) }

    /// The migration that attests rows for the first time reads rows that lack the newest column.
    package static let columns = """
        u.user_id, u.organization_id, u.name, u.systemuser_id, u.role, u.salt, u.verifier, u.tag, u.totp, u.disabled_on, \
        coalesce((to_jsonb(u) ->> 'must_change_password')::boolean, false)
        """
    static let columnCount = 11

    /// Reads ``columns``.
    ///
    /// - Returns: Nil for a role that this program does not know.
    package static func row(_ row: PostgresRow) throws -> (row: Row, tag: [UInt8])? {
        func bytes(_ column: Int) throws -> [UInt8] { try row.decode(column, as: PostgresBytes.self).bytes }
        guard let role = Role(rawValue: try row.decode(4)) else { return nil }
        let user = Row(
            id: try row.decode(0), organizationID: try row.decode(1), name: try row.decode(2), systemUserID: try row.decode(3),
            role: role, salt: try bytes(5), verifier: try bytes(6), totp: row.isNull(8) ? nil : try bytes(8),
            disabledOn: try row.decodeIfPresent(9), mustChangePassword: try row.decode(10))
        return (user, try bytes(7))
    }

    /// The user that matches a condition. This service must have written the row, and the user and its systemuser must be enabled.
    ///
    /// - Parameter condition: A condition over `config.console_user AS u`. Its parameters begin at `$2`.
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

    /// Whether this service wrote the user's row, it is enabled, and the service did not disable the systemuser.
    func mayAct(_ user: Row, tag: [UInt8], in state: OrganizationState) throws -> Bool {
        try user.disabledOn == nil && state.grants.authenticates(user.grant, tag: tag, under: deployment.kek)
            && !state.isDisabled(systemUser: user.systemUserID)
    }

    /// Adds a person and their systemuser.
    ///
    /// - Parameters:
    ///   - password: Nil for a person who chooses one with an invitation, and can't sign in before that.
    ///   - existing: A systemuser without a sign-in, which the person gets in place of a new one.
    /// - Throws: ``FieldsealError`` when the name is taken, the password too short, or the systemuser not one that can be given.
    package func add(name: String, password: String?, role: Role, existing: UUID? = nil, by session: Session) async throws -> UUID {
        try session.requireSystemAdministrator(to: "manage console users")
        let (organization, caller) = (session.organization, session.caller)
        try Self.check(name, role)
        if let password { try PasswordRules.check(password, of: name, in: organization.name) }
        let salt = try deployment.hashing.newSalt()
        let derived =
            if let password {
                try await deployment.hashing.derive(password, salt: salt, for: Self.network(caller))
            } else {
                try randomBytes(count: 32)
            }
        return try await session.requestingApproval { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                try change.requireAccessControl(toAdd: name, role, existing, by: caller, on: connection)
                let names = try connection.query(
                    "SELECT name FROM config.console_user WHERE organization_id = $1", [.uuid(organization.id)])
                guard try !names.contains(where: { try $0.decode(0, as: String.self).comparedAsName == name.comparedAsName }) else {
                    throw FieldsealError(.duplicateRecord, "There is a person named \(name) already.")
                }
                let user = Row(
                    id: .timeOrdered(), organizationID: organization.id, name: name, systemUserID: existing ?? .timeOrdered(),
                    role: role, salt: salt, verifier: try PasswordHashing.verifier(of: derived, salt: salt, under: change.kek))
                if let existing {
                    try Self.requireFree(existing, &change, on: connection)
                } else {
                    try NewRecord.systemUser(
                        id: user.systemUserID, name: name, domainName: "console\\\(name)", in: organization, by: caller,
                        on: connection
                    ).insert(into: organization, by: caller, on: connection)
                }
                try Self.insert(user, by: caller, &change, on: connection)
                let details = "\(name), \(role.rawValue)" + (existing == nil ? "" : Self.forExistingUser)
                try change.append(SecurityEvent(.userAdded, .succeeded, details: details), by: caller, on: connection)
                return user.id
            }
        }
    }

    /// What the event of a new person ends with, if their user was there before.
    package static let forExistingUser = ": existing user"

    private static func check(_ name: String, _ role: Role) throws(FieldsealError) {
        guard (1...100).contains(name.count), name.isOneLine, role != .emailRouter else {
            throw FieldsealError(
                .invalidArgument,
                "A name has 1 to 100 characters and no control characters. A person can't have the role Email Router.")
        }
        guard name.first?.isWhitespace == false, name.last?.isWhitespace == false, name.isVisible else {
            throw FieldsealError(
                .invalidArgument,
                "A person's name has no control characters or invisible ones, and no blank at its beginning or its end.")
        }
    }

    private static func insert(
        _ user: Row, by caller: Caller, _ change: inout AttestedChange, on connection: isolated PostgresConnection
    ) throws {
        do {
            _ = try connection.query(
                """
                INSERT INTO config.console_user
                    (user_id, organization_id, name, systemuser_id, role, salt, verifier, tag, created_by)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                """,
                [
                    .uuid(user.id), .uuid(user.organizationID), .text(user.name), .uuid(user.systemUserID),
                    .text(user.role.rawValue), .bytes(user.salt), .bytes(user.verifier), .bytes(try change.grant(user.grant)),
                    .text(caller.actor),
                ])
        } catch let error as PostgresError where error.state == .uniqueViolation {
            throw FieldsealError(.duplicateRecord, "There is a person named \(user.name) already.")
        }
    }

    // MARK: Users without a sign-in

    /// A systemuser without a sign-in.
    package struct FreeUser: Sendable {
        package let id: UUID
        package let name: String
        /// What tells it apart from others of its name: the e-mail address or the domain name; empty for none.
        package let detail: String
    }

    /// The condition for systemusers `s` that a person can be given: no program, not disabled, and no one acts as it.
    private static func isFree(in organization: Organization) -> String {
        """
        NOT coalesce(s.isdisabled, false) AND s.applicationid IS NULL AND s.fullname IS NOT NULL
        AND NOT EXISTS (SELECT FROM config.console_user AS u WHERE u.organization_id = $1 AND u.systemuser_id = s.systemuserid)
        AND NOT EXISTS (SELECT FROM config.api_client AS c WHERE c.organization_id = $1 AND c.systemuser_id = s.systemuserid)
        """
    }

    /// The systemusers without a sign-in, by name.
    ///
    /// - Parameters:
    ///   - name: Only those of this name, compared without case.
    ///   - id: Only the one with this id.
    package func free(named name: String? = nil, id: UUID? = nil, limit: Int, by session: Session) async throws -> [FreeUser] {
        try session.requireSystemAdministrator(to: "manage console users")
        let organization = session.organization
        return try await deployment.pool.withConnection { connection in
            let rows = try connection.query(
                """
                SELECT s.systemuserid, s.fullname, coalesce(nullif(s.internalemailaddress, ''), s.domainname, '')
                  FROM \(organization.qualified("systemuser")) AS s WHERE \(Self.isFree(in: organization))
                   AND ($2::text IS NULL OR lower(s.fullname) = lower($2)) AND ($3::uuid IS NULL OR s.systemuserid = $3)
                 ORDER BY lower(s.fullname), s.systemuserid LIMIT $4
                """, [.uuid(organization.id), .text(name), .uuid(id), .int64(Int64(limit))])
            return try rows.compactMap { row in
                let id: UUID = try row.decode(0)
                guard try !session.state.isDisabled(systemUser: id) else { return nil }
                return FreeUser(id: id, name: try row.decode(1), detail: try row.decode(2))
            }
        }
    }

    /// Refuses a systemuser that is disabled, a program's, or another person's. Locks it.
    private static func requireFree(
        _ id: UUID, _ change: inout AttestedChange, on connection: isolated PostgresConnection
    ) throws {
        let organization = change.organization
        let rows = try connection.query(
            """
            SELECT \(isFree(in: organization)) FROM \(organization.qualified("systemuser")) AS s WHERE s.systemuserid = $2
               FOR NO KEY UPDATE OF s
            """, [.uuid(organization.id), .uuid(id)])
        guard let row = rows.first else { throw FieldsealError.noSuchRecord(.systemUser, id.text) }
        guard try row.decode(0, as: Bool.self), try !change.grants.names(Grant.disabledSystemUser(id).name) else {
            throw FieldsealError(
                .invalidArgument,
                "This user can't be given a sign-in: it is disabled, or a person or a program signs in as it already.")
        }
    }

    /// The people of the organization, by name.
    package func list(by session: Session) async throws -> [Entry] {
        try session.requireSystemAdministrator(to: "manage console users")
        return try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(session.organization.name, in: deployment, on: connection)
            let made = try Invitation.all(of: session.organization, on: connection).filter {
                try state.grants.holds($0.grant, under: deployment.kek)
            }
            let invitations = Dictionary(made.map { ($0.person, $0) }) { first, _ in first }
            return try connection.query(
                """
                SELECT \(Self.columns), u.created_on,
                       (SELECT count(*) FROM config.console_session AS s WHERE s.user_id = u.user_id AND \(ConsoleSessions.isRunning))
                  FROM config.console_user AS u WHERE u.organization_id = $1 ORDER BY lower(u.name)
                """, [.uuid(session.organization.id)]
            ).map { row in
                let disabledOn: PostgresMoment? = try row.decodeIfPresent(9)
                let isNewest = try Self.row(row).map {
                    try $0.row.isNewest($0.tag, in: state.grants, under: deployment.kek)
                }
                let id: UUID = try row.decode(0)
                return Entry(
                    id: id, name: try row.decode(2), role: try row.decode(4),
                    createdOn: try row.decode(Self.columnCount, as: PostgresMoment.self).date,
                    disabledOn: disabledOn.map { $0.date },
                    isAuthentic: isNewest ?? false, systemUserID: try row.decode(3),
                    hasSecondFactor: !row.isNull(8), sessions: try row.decode(Self.columnCount + 1),
                    mustChangePassword: try row.decode(10),
                    invitation: invitations[id].flatMap { $0.hasEnded ? nil : $0 },
                    invitationEnded: invitations[id].flatMap { $0.hasEnded ? $0.end.date : nil })
            }
        }
    }

    /// Disables a person. Their sessions end at once.
    ///
    /// - Parameter evenIfLast: Whether the last System Administrator may be disabled.
    package func disable(_ name: String, evenIfLast: Bool = false, by session: Session) async throws {
        try session.requireSystemAdministrator(to: "manage console users")
        let organization = session.organization
        try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                guard let (found, tag, standing) = try Self.row(named: name, &change, on: connection) else {
                    throw Self.unknown(name)
                }
                var user = found
                if user.disabledOn == nil { user.disabledOn = change.now }
                // A row that SQL changed keeps its tag, so it still does not verify after a reset. Nor does a former state that SQL
                // put back.
                let isOwn = standing == .authentic
                let kept = isOwn ? try user.grant.tag(under: change.kek) : tag
                try change.keepingAnAdministrator(evenIfLast: evenIfLast, on: connection) { change in
                    _ = try connection.query(
                        "UPDATE config.console_user SET disabled_on = $2, tag = $3 WHERE user_id = $1",
                        [.uuid(user.id), .moment(user.disabledOn), .bytes(kept)])
                    try change.revoke(Self.name(user.id), tag: isOwn ? kept : nil)
                }
                try Invitation.end(of: user.id, &change, on: connection)
                try ConsoleSessions.end("user_id = $1", [.uuid(user.id)], &change, on: connection)
                try change.append(SecurityEvent(.userDisabled, .succeeded, details: name), by: session.caller, on: connection)
            }
        }
    }

    /// Stores another verifier of the same password.
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

    /// Sets a password that the person must change at their next sign-in. It removes their one-time passwords, enables them, and
    /// ends their sessions.
    ///
    /// - Returns: The person's role, which stays.
    /// - Throws: ``FieldsealError`` when there is no such person, or this service did not write the row.
    @discardableResult
    package func reset(_ name: String, password: String, by session: Session) async throws -> Role {
        try session.requireSystemAdministrator(to: "manage console users")
        let organization = session.organization
        try PasswordRules.check(password, of: name, in: organization.name)
        let salt = try deployment.hashing.newSalt()
        let derived = try await deployment.hashing.derive(password, salt: salt, for: Self.network(session.caller))
        return try await session.requestingApproval { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                guard let (old, tag, _) = try Self.row(named: name, &change, on: connection) else {
                    throw Self.unknown(name)
                }
                guard try old.isNewest(tag, in: change.grants, under: change.kek) else {
                    throw Self.foreign(name)
                }
                try change.requireAccessControl(to: old, "reset the password of", by: session.caller, on: connection)
                let user = Row(
                    id: old.id, organizationID: old.organizationID, name: old.name, systemUserID: old.systemUserID, role: old.role,
                    salt: salt, verifier: try PasswordHashing.verifier(of: derived, salt: salt, under: change.kek),
                    mustChangePassword: true)
                _ = try connection.query(
                    """
                    UPDATE config.console_user SET salt = $2, verifier = $3, tag = $4, totp = NULL, disabled_on = NULL,
                           must_change_password = true WHERE user_id = $1
                    """, [.uuid(user.id), .bytes(salt), .bytes(user.verifier), .bytes(try change.grant(user.grant))])
                try Invitation.end(of: user.id, &change, on: connection)
                try SecondFactor.removeCodes(of: user.id, &change, on: connection)
                try ConsoleSessions.end("user_id = $1", [.uuid(user.id)], &change, on: connection)
                try change.append(
                    SecurityEvent(.userReset, .succeeded, details: "\(name), \(user.role.rawValue)"), by: session.caller,
                    on: connection)
                return user.role
            }
        }
    }

    /// The key by which a caller's password computations are counted.
    static func network(_ caller: Caller) -> String { caller.address.map(IPAddress.network) ?? caller.actor }

    static func unknown(_ name: String) -> FieldsealError {
        FieldsealError(
            .objectDoesNotExist,
            "There is no person named \(name.quotedForMessage) here. If SQL deleted the row, `fieldseal org attach` ends what it granted."
        )
    }

    /// The row of a name, locked, and its verdict by the attested list.
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
            "The row of \(name.quotedForMessage) in config was changed past this service, so it is not reset: what it grants is not known. "
                + "Remove that person, and add them again: fieldseal user remove, fieldseal user add.")
    }
}
