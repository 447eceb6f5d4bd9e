import CellCrypto
public import Foundation
import PostgresClient

/// The people who sign in to the console of an organization.
public struct ConsoleUsers: Sendable {
    private let deployment: Deployment

    public init(_ deployment: Deployment) { self.deployment = deployment }

    /// Characters of a password at least (NIST SP 800-63B section 5.1.1.2 asks for 8).
    public static let minimumPasswordLength = 10

    /// A person as a list shows him.
    public struct Entry: Sendable {
        public let id: UUID
        public let name: String
        public let role: String
        public let createdOn: Date
        public let disabledOn: Date?
        /// Whether the row's tag is valid.
        public let isHonoured: Bool
    }

    /// A row of `config.console_user`, whose tag was checked.
    struct Row: Sendable {
        let id: UUID
        let organizationID: UUID
        let name: String
        let systemUserID: UUID
        let role: Role
        let salt: [UInt8]
        let verifier: [UInt8]
        /// The sealed seed of one-time passwords, if there are any.
        var totp: [UInt8]?
    }

    static let columns = "u.user_id, u.organization_id, u.name, u.systemuser_id, u.role, u.salt, u.verifier, u.tag, u.totp"

    /// - Returns: Nil for a row that this service did not write.
    func row(_ row: PostgresRow) throws -> Row? {
        func bytes(_ column: Int) throws -> [UInt8] { try row.decode(column, as: PostgresBytes.self).bytes }
        guard let role = Role(rawValue: try row.decode(4)) else { return nil }
        let user = Row(
            id: try row.decode(0), organizationID: try row.decode(1), name: try row.decode(2), systemUserID: try row.decode(3),
            role: role, salt: try bytes(5), verifier: try bytes(6),
            totp: row.isNull(8) ? nil : try bytes(8))
        return constantTimeEqual(try bytes(7), try tag(user)) ? user : nil
    }

    func tag(_ user: Row) throws -> [UInt8] {
        try deployment.kek.tag(
            label: "console_user",
            over: [
                user.id.bytes, user.organizationID.bytes, Array(user.name.utf8), user.systemUserID.bytes,
                Array(user.role.rawValue.utf8),
                user.salt, user.verifier, user.totp ?? [],
            ])
    }

    /// Adds a person and the systemuser that he acts as.
    ///
    /// - Throws: ``FieldsealError`` when the name is taken, or the password too short.
    public func add(name: String, password: String, role: Role, by session: Session) async throws -> UUID {
        try session.requireSystemAdministrator()
        let (organization, caller) = (session.organization, session.caller)
        guard (1...100).contains(name.count), role != .emailRouter else {
            throw FieldsealError(.invalidArgument, "A name has 1 to 100 characters, and a person is no Email Router.")
        }
        try Self.check(password: password)
        return try await deployment.pool.withConnection { connection in
            let salt = try randomBytes(count: PasswordVerifier.saltLength)
            let user = Row(
                id: .timeOrdered(), organizationID: organization.id, name: name, systemUserID: .timeOrdered(), role: role,
                salt: salt,
                verifier: try PasswordVerifier.make(of: password, salt: salt))
            return try connection.transaction {
                try RecordDraft.systemUser(
                    id: user.systemUserID, name: name, domainName: "console\\\(name)", in: organization, on: connection
                ).insert(into: organization, on: connection)
                do {
                    _ = try connection.query(
                        """
                        INSERT INTO config.console_user
                            (user_id, organization_id, name, systemuser_id, role, salt, verifier, tag, created_by)
                        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                        """,
                        [
                            .uuid(user.id), .uuid(organization.id), .text(name), .uuid(user.systemUserID), .text(role.rawValue),
                            .bytes(salt), .bytes(user.verifier), .bytes(try tag(user)), .text(caller.actor),
                        ])
                } catch let error as PostgresError where error.sqlState == "23505" {
                    throw FieldsealError(.duplicateRecord, "There is a person named \(name) already.")
                }
                try SecurityEvent(.userAdded, .succeeded, details: "\(name), \(role.rawValue)")
                    .insert(for: organization, by: caller, under: deployment.kek, on: connection)
                return user.id
            }
        }
    }

    /// The people of the organization, by name.
    public func list(by session: Session) async throws -> [Entry] {
        try session.requireSystemAdministrator()
        return try await deployment.pool.withConnection { connection in
            try connection.query(
                """
                SELECT \(Self.columns), u.created_on, u.disabled_on FROM config.console_user AS u
                 WHERE u.organization_id = $1 ORDER BY lower(u.name)
                """, [.uuid(session.organization.id)]
            ).map { row in
                Entry(
                    id: try row.decode(0), name: try row.decode(2), role: try row.decode(4), createdOn: try row.decode(9),
                    disabledOn: try row.decodeIfPresent(10), isHonoured: try self.row(row) != nil)
            }
        }
    }

    /// Disables a person; his sessions end at once.
    public func disable(_ name: String, by session: Session) async throws {
        try session.requireSystemAdministrator()
        try await deployment.pool.withConnection { connection in
            try connection.transaction {
                let rows = try connection.query(
                    """
                    UPDATE config.console_user SET disabled_on = coalesce(disabled_on, now())
                     WHERE organization_id = $1 AND lower(name) = lower($2) RETURNING user_id
                    """, [.uuid(session.organization.id), .text(name)])
                guard let row = rows.first else { throw Self.unknown(name) }
                try endSessions(of: try row.decode(0), on: connection)
                try SecurityEvent(.userDisabled, .succeeded, details: name)
                    .insert(for: session.organization, by: session.caller, under: deployment.kek, on: connection)
            }
        }
    }

    /// Gives a person another password, takes his one-time passwords away, enables him again, and ends his sessions.
    public func reset(_ name: String, password: String, by session: Session) async throws {
        try session.requireSystemAdministrator()
        try Self.check(password: password)
        try await deployment.pool.withConnection { connection in
            let salt = try randomBytes(count: PasswordVerifier.saltLength)
            let verifier = try PasswordVerifier.make(of: password, salt: salt)
            try connection.transaction {
                let rows = try connection.query(
                    "SELECT \(Self.columns) FROM config.console_user AS u WHERE organization_id = $1 AND lower(name) = lower($2) FOR UPDATE",
                    [.uuid(session.organization.id), .text(name)])
                guard let old = try rows.first.flatMap(row) else { throw Self.unknown(name) }
                let user = Row(
                    id: old.id, organizationID: old.organizationID, name: old.name, systemUserID: old.systemUserID, role: old.role,
                    salt: salt, verifier: verifier)
                _ = try connection.query(
                    """
                    UPDATE config.console_user SET salt = $2, verifier = $3, tag = $4, totp = NULL, disabled_on = NULL WHERE user_id = $1
                    """, [.uuid(user.id), .bytes(salt), .bytes(verifier), .bytes(try tag(user))])
                _ = try connection.query("DELETE FROM config.console_recovery_code WHERE user_id = $1", [.uuid(user.id)])
                try endSessions(of: user.id, on: connection)
                try SecurityEvent(.userReset, .succeeded, details: name)
                    .insert(for: session.organization, by: session.caller, under: deployment.kek, on: connection)
            }
        }
    }

    func endSessions(of user: UUID, on connection: isolated PostgresConnection) throws {
        _ = try connection.query("DELETE FROM config.console_session WHERE user_id = $1", [.uuid(user)])
    }

    private static func check(password: String) throws(FieldsealError) {
        guard password.count >= minimumPasswordLength, password.utf8.count <= 1_000 else {
            throw FieldsealError(.invalidArgument, "A password has \(minimumPasswordLength) to 1,000 characters.")
        }
    }

    private static func unknown(_ name: String) -> FieldsealError {
        FieldsealError(.objectDoesNotExist, "There is no person named \(name.quotedForMessage) here.")
    }
}
