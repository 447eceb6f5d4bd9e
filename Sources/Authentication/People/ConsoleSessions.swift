import CellCrypto
package import Foundation
import JSON
import Model
package import PostgresClient
package import Tenancy

/// Sessions of the console. Each session is bound to one organization. The database has only the hash of a session's token.
package struct ConsoleSessions: Sendable {
    let deployment: Deployment
    let users: ConsoleUsers

    package init(_ deployment: Deployment) {
        self.deployment = deployment
        users = ConsoleUsers(deployment)
    }

    /// A session ends ``idleLimit`` seconds after its last use, and at the latest ``absoluteLimit`` seconds after its begin.
    package static let idleLimit = 30 * 60
    package static let absoluteLimit = 12 * 3_600
    /// The SQL condition that is true if the session of a row `s` of `config.console_session` has not ended.
    static let isRunning =
        "s.used_on > now() - interval '\(idleLimit) seconds' AND s.created_on > now() - interval '\(absoluteLimit) seconds'"
    /// Keys can be shown and set for this many seconds after the password was entered.
    package static let reauthenticationLimit = 5 * 60

    /// A signed-in person, found by the token in the browser's cookie.
    package struct AuthenticatedUser: Sendable {
        package let session: Session
        package let name: String
        package let isFresh: Bool
        package let userID: UUID
        /// Whether an administrator set the password. If true, the person must choose another password before anything else.
        package let mustChangePassword: Bool
        /// Whether the person's role needs one-time passwords and they have none yet.
        package let mustAddSecondFactor: Bool
        package let hasSecondFactor: Bool
    }

    /// Signs in a person whom a provider authenticated.
    ///
    /// - Parameters:
    ///   - provider: The provider's name, for the event.
    ///   - isFresh: Whether the person authenticated at the provider just now.
    func signIn(
        _ id: UUID, through provider: String, isFresh: Bool, to organization: Organization, address: String, requestID: String
    ) async throws -> String {
        try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
            guard let user = try users.find("u.user_id = $2", [.uuid(id)], in: state, on: connection) else {
                throw FieldsealError(
                    .accessDenied,
                    "This account can't sign in: it or its systemuser is disabled, or SQL changed its row. Ask an administrator.")
            }
            let caller = Caller(
                actor: "user:\(user.name)", clientID: nil, systemUserID: user.systemUserID, role: user.role, address: address,
                requestID: requestID)
            return try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                try change.append(
                    SecurityEvent(.signedIn, .succeeded, details: "through \(provider)"), by: caller, on: connection)
                return try begin(user, address, isFresh: isFresh, &change, on: connection)
            }
        }
    }

    /// The running session of a token in this organization; nil if there is none.
    package func session(_ token: String, organization name: String, address: String?, requestID: String) async throws
        -> AuthenticatedUser?
    {
        try await deployment.pool.withConnection { connection -> AuthenticatedUser? in
            // The list of grants is read before the session's row. A session that is not listed yet has not been sent to a
            // browser, so refusing it is safe.
            let state = try OrganizationState.read(name, in: deployment, on: connection)
            deployment.remember(state)
            guard let (user, isFresh) = try find(token, in: state, on: connection) else { return nil }
            let caller = Caller(
                actor: "user:\(user.name)", clientID: nil, systemUserID: user.systemUserID, role: user.role,
                granted: try state.grantedRoles(of: user.systemUserID, under: deployment.kek, on: connection), address: address,
                requestID: requestID)
            let session = Session(
                organization: state.organization, caller: caller, deployment: deployment, state: state, check: nil)
            return AuthenticatedUser(
                session: session, name: user.name, isFresh: isFresh, userID: user.id, mustChangePassword: user.mustChangePassword,
                mustAddSecondFactor: try user.totp == nil && state.requiresSecondFactor(of: user.role),
                hasSecondFactor: user.totp != nil)
        }
    }

    /// Ends a session, or all sessions of the person who has it.
    ///
    /// - Parameter organization: The organization in the request. The attested list of this organization is used to end a session
    ///   whose row SQL deleted.
    /// - Throws: ``FieldsealError`` if all sessions were to end, but only this one did, because SQL changed the row that names
    ///   its person.
    package func signOut(
        _ token: String, of organization: Organization, everywhere: Bool, address: String?, requestID: String
    ) async throws {
        try await deployment.pool.withConnection { connection in
            let hash = try Self.hash(token)
            let rows = try connection.query(
                """
                SELECT o.organization_id, o.name, u.name, u.systemuser_id, u.role FROM config.console_session AS s
                  JOIN config.console_user AS u USING (user_id) JOIN config.organization AS o USING (organization_id)
                 WHERE s.token_hash = $1
                """, [.bytes(hash)])
            let found = try rows.first.map { Organization(id: try $0.decode(0), name: try $0.decode(1)) }
            var isWhole = true
            if found?.id != organization.id {
                let wasHidden = try endHidden(hash, of: organization, address: address, requestID: requestID, on: connection)
                isWhole = !(everywhere && wasHidden)
            }
            if let row = rows.first, let found {
                let caller = Caller(
                    actor: "user:\(try row.decode(2, as: String.self))", clientID: nil, systemUserID: try row.decode(3),
                    role: Role(rawValue: try row.decode(4)) ?? .basicUser, address: address, requestID: requestID)
                try AttestedState.change(of: found, under: deployment.kek, on: connection) { change in
                    let person = try everywhere ? Self.owner(of: hash, change, on: connection) : nil
                    _ = try Self.endOne(hash, &change, on: connection)
                    if let person { try change.endSessions(of: person, on: connection) }
                    isWhole = isWhole && (!everywhere || person != nil)
                    // If SQL later restores an older attested state, the event chain in that state ends before this event. So the
                    // verification of the chain finds the difference.
                    try change.append(
                        SecurityEvent(.signedOut, .succeeded, details: person == nil ? nil : "everywhere"), by: caller,
                        on: connection)
                }
            }
            guard isWhole else { throw Self.endedAlone }
        }
    }

    private static let endedAlone = FieldsealError(
        .organizationDisabled,
        "This session ended, but your other sessions did not, because SQL changed this session's row. Let an administrator end your "
            + "sessions."
    )

    /// Ends the session of a token that is not valid now, because the session expired, or SQL hid or changed its row.
    ///
    /// - Throws: ``FieldsealError`` if all sessions of the person were to end, but SQL changed the row that names the person.
    package func endUnseen(
        _ token: String, of organization: Organization, everywhere: Bool, address: String?, requestID: String
    ) async throws {
        try await deployment.pool.withConnection { connection in
            let hash = try Self.hash(token)
            // For an unknown token the function returns here, before any lock. So a stranger's cookies can't hold locks.
            let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
            guard try state.grants.names(.session(hash)) else { return }
            let wasHidden = try endHidden(hash, of: organization, address: address, requestID: requestID, on: connection)
            if wasHidden, everywhere { throw Self.endedAlone }
        }
    }

    /// The person of a session, if this service wrote the rows of both.
    private static func owner(
        of tokenHash: [UInt8], _ change: AttestedChange, on connection: isolated PostgresConnection
    ) throws -> UUID? {
        let rows = try connection.query(
            """
            SELECT s.token_hash, s.user_id, s.created_on, s.fresh_on, s.tag, \(ConsoleUsers.columns)
              FROM config.console_session AS s JOIN config.console_user AS u USING (user_id) WHERE s.token_hash = $1
            """, [.bytes(tokenHash)])
        guard let found = rows.first, let (user, _) = try ConsoleUsers.row(found, at: Self.columnCount) else { return nil }
        let (session, tag) = try row(found)
        let isOwn = try change.grants.authenticates(session.grant(of: user), tag: tag, under: change.kek)
        return isOwn ? session.userID : nil
    }

    /// Ends a session whose row SQL may have hidden or changed. If SQL restores the row later, the session stays ended.
    ///
    /// - Returns: Whether the session existed, and SQL had hidden or changed its row.
    private func endHidden(
        _ hash: [UInt8], of organization: Organization, address: String?, requestID: String,
        on connection: isolated PostgresConnection
    ) throws -> Bool {
        try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
            let wasHidden = try Self.owner(of: hash, change, on: connection) == nil
            guard try Self.endOne(hash, &change, on: connection) else { return false }
            let caller = Caller(
                actor: "user:unknown", clientID: nil, systemUserID: nil, role: .basicUser, address: address, requestID: requestID)
            let details = wasHidden ? "its row was deleted or changed by SQL" : nil
            try change.append(SecurityEvent(.signedOut, .succeeded, details: details), by: caller, on: connection)
            return wasHidden
        }
    }

    /// - Parameter signedInOn: The time of the sign-in; nil for now.
    func begin(
        _ user: ConsoleUsers.Row,
        _ address: String,
        isFresh: Bool = true,
        signedInOn: PostgresMoment? = nil,
        _ change: inout AttestedChange,
        on connection: isolated PostgresConnection
    ) throws -> String {
        try Self.end(
            """
            user_id IN (SELECT user_id FROM config.console_user WHERE organization_id = $1)
              AND (used_on < now() - $2 * interval '1 second' OR created_on < now() - $3 * interval '1 second')
            """,
            [.uuid(user.organizationID), .double(Double(Self.idleLimit)), .double(Double(Self.absoluteLimit))], &change,
            on: connection)
        let token = Data(try randomBytes(count: 32)).base64URL
        let row = Row(
            tokenHash: try Self.hash(token), userID: user.id, createdOn: signedInOn ?? change.now,
            freshOn: isFresh ? change.now : .distantPast)
        _ = try connection.query(
            """
            INSERT INTO config.console_session (token_hash, user_id, address, created_on, used_on, fresh_on, tag)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            """,
            [
                .bytes(row.tokenHash), .uuid(user.id), .text(address), .moment(row.createdOn), .moment(change.now),
                .moment(row.freshOn), .bytes(try change.grant(row.grant(of: user))),
            ])
        return token
    }

    /// The user and the age of a token's session, if this service wrote both rows.
    func find(
        _ token: String,
        in state: OrganizationState,
        on connection: isolated PostgresConnection
    ) throws -> (user: ConsoleUsers.Row, isFresh: Bool)? {
        let hash = try Self.hash(token)
        let rows = try connection.query(
            "SELECT token_hash, user_id, created_on, fresh_on, tag, used_on, now() FROM config.console_session WHERE token_hash = $1",
            [.bytes(hash)])
        guard let row = rows.first else { return nil }
        let (session, tag) = try Self.row(row)
        let (usedOn, now): (PostgresMoment, PostgresMoment) = (try row.decode(5), try row.decode(6))
        // Another request of the session may have set `used_on` since this statement began.
        let isIdle = usedOn <= now && !usedOn.isWithin(seconds: Self.idleLimit, before: now)
        guard !isIdle, session.createdOn.isWithin(seconds: Self.absoluteLimit, before: now),
            let user = try users.find("u.user_id = $2", [.uuid(session.userID)], in: state, on: connection),
            try state.grants.authenticates(session.grant(of: user), tag: tag, under: deployment.kek)
        else { return nil }
        _ = try connection.query("UPDATE config.console_session SET used_on = now() WHERE token_hash = $1", [.bytes(hash)])
        return (user, session.freshOn.isWithin(seconds: Self.reauthenticationLimit, before: now))
    }

    /// Deletes the sessions that match a condition, and removes them from the attested list.
    static func end(
        _ condition: String,
        _ parameters: [PostgresParameter],
        _ change: inout AttestedChange,
        on connection: isolated PostgresConnection
    ) throws {
        let ended = try connection.query(
            "DELETE FROM config.console_session WHERE \(condition) RETURNING token_hash", parameters)
        for row in ended { try change.remove(.session(try row.decode(0, as: PostgresBytes.self).bytes)) }
    }

    static func hash(_ token: String) throws -> [UInt8] { try sha256(Array(token.utf8)) }

    // MARK: Attested contents

    /// A row of `config.console_session`. The time of the session's last use is not attested, because it changes with each page. If
    /// SQL changes this time, the session still ends after twelve hours at the latest.
    package struct Row: Sendable {
        package let tokenHash: [UInt8]
        package let userID: UUID
        let createdOn: PostgresMoment
        let freshOn: PostgresMoment

        /// The password's salt binds the session to the password. So a change of the password ends all sessions, even sessions
        /// whose rows SQL hid.
        package func grant(of user: ConsoleUsers.Row) -> Grant {
            Grant(
                .session(tokenHash), [userID.bytes, Grant.field(createdOn), Grant.field(freshOn), user.salt],
                in: .sessions(of: userID))
        }
    }

    private static let columnCount = 5

    /// Reads the columns `token_hash, user_id, created_on, fresh_on, tag`.
    package static func row(_ row: PostgresRow) throws -> (row: Row, tag: [UInt8]) {
        (
            Row(
                tokenHash: try row.decode(0, as: PostgresBytes.self).bytes, userID: try row.decode(1), createdOn: try row.decode(2),
                freshOn: try row.decode(3)),
            try row.decode(4, as: PostgresBytes.self).bytes
        )
    }
}
