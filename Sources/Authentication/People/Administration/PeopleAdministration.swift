import CellCrypto
package import Foundation
import JSON
import Model
import PostgresClient
import Records
package import Tenancy

/// What a System Administrator may do with the people of the organization: add, list, change and remove them.
///
/// The initializer checks the caller's role, so the methods do not check it again. What people do with their own account is in
/// ``ConsoleUsers``, ``ConsoleSessions`` and ``SecondFactor``.
package struct PeopleAdministration: Sendable {
    let session: Session

    var organization: Organization { session.organization }
    var caller: Caller { session.caller }
    var deployment: Deployment { session.deployment }
    /// For whom passwords are hashed: for the signed-in administrator, whose places strangers can't take, or for the command line.
    var asker: PasswordHashing.Asker { caller.systemUserID.map { .person($0) } ?? .network(caller.actor) }

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
        /// Whether the person must choose another password at the next sign-in.
        package let mustChangePassword: Bool
        /// Whether it is on record that the person chose their present password.
        package let hasOwnPassword: Bool
        /// The invitation with which the person may choose a password; nil if there is none.
        package let invitation: Invitation?
        /// When an unused invitation expired; nil if none did.
        package let invitationEnded: Date?
    }

    /// Checks that the caller is a System Administrator.
    ///
    /// - Throws: ``FieldsealError`` `.privilegeDenied` for another role, and for a caller that acts for another user.
    package init(_ session: Session) throws {
        try session.requireSystemAdministrator(to: "manage console users")
        self.session = session
    }

    // MARK: Adding

    /// Adds a person and their systemuser.
    ///
    /// - Parameters:
    ///   - password: Nil for a person who chooses a password with an invitation, and can't sign in before that.
    ///   - existing: A systemuser without a sign-in, which the person gets in place of a new systemuser.
    /// - Throws: ``FieldsealError`` when another person has the name, the password breaks a rule, or the systemuser can't be given
    ///   to a person.
    package func add(name: String, password: String?, role: Role, existing: UUID? = nil) async throws -> UUID {
        try Self.check(name, role)
        if let password {
            do { try PasswordRules.check(password, of: name, in: organization.name) } catch { throw error.about("password") }
        }
        let salt = try deployment.hashing.newSalt()
        let derived =
            if let password {
                try await deployment.hashing.derive(password, salt: salt, for: asker)
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
                let user = ConsoleUsers.Row(
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

    /// The end of a new person's event details, if their systemuser existed before.
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
        _ user: ConsoleUsers.Row, by caller: Caller, _ change: inout AttestedChange, on connection: isolated PostgresConnection
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

    // MARK: Finding

    /// The people of the organization, by name.
    package func list() async throws -> [Entry] {
        try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
            let made = try Invitation.all(of: organization, on: connection).filter {
                try state.grants.holds($0.grant, under: deployment.kek)
            }
            let invitations = Dictionary(made.map { ($0.person, $0) }) { first, _ in first }
            return try connection.query(
                """
                SELECT \(ConsoleUsers.columns), u.created_on,
                       (SELECT count(*) FROM config.console_session AS s WHERE s.user_id = u.user_id AND \(ConsoleSessions.isRunning))
                  FROM config.console_user AS u WHERE u.organization_id = $1 ORDER BY lower(u.name)
                """, [.uuid(organization.id)]
            ).map { row in
                let disabledOn: PostgresMoment? = try row.decodeIfPresent(9)
                let found = try ConsoleUsers.row(row)
                let isNewest = try found.map { try $0.row.isNewest($0.tag, in: state.grants, under: deployment.kek) }
                let hasOwnPassword = try found.map {
                    try state.grants.holds(.ownPassword(of: $0.row.id, salt: $0.row.salt), under: deployment.kek)
                }
                let id: UUID = try row.decode(0)
                return Entry(
                    id: id, name: try row.decode(2), role: try row.decode(4),
                    createdOn: try row.decode(ConsoleUsers.columnCount, as: PostgresMoment.self).date,
                    disabledOn: disabledOn.map { $0.date },
                    isAuthentic: isNewest ?? false, systemUserID: try row.decode(3),
                    hasSecondFactor: !row.isNull(8), sessions: try row.decode(ConsoleUsers.columnCount + 1),
                    mustChangePassword: try row.decode(10), hasOwnPassword: hasOwnPassword ?? false,
                    invitation: invitations[id].flatMap { $0.hasEnded ? nil : $0 },
                    invitationEnded: invitations[id].flatMap { $0.hasEnded ? $0.end.date : nil })
            }
        }
    }

    /// The id of a person by their name.
    ///
    /// - Throws: ``FieldsealError`` when there is no such person, or SQL changed the row. SQL could have given the row another
    ///   person's name.
    package func id(of name: String) async throws -> UUID {
        guard let entry = try await list().first(where: { $0.name.lowercased() == name.lowercased() }) else {
            throw Self.unknown(name)
        }
        guard entry.isAuthentic else { throw ConsoleUsers.foreign(name) }
        return entry.id
    }

    static func unknown(_ name: String) -> FieldsealError {
        FieldsealError(
            .objectDoesNotExist,
            "There is no person named \(name.quotedForMessage) here. If SQL deleted the row, `fieldseal org attach` ends the "
                + "access that it gave."
        )
    }
}
