import CellCrypto
import Foundation
import PostgresClient

/// Sessions of the console: begun with a password, kept by their hashes, bound to one organization.
public struct ConsoleSessions: Sendable {
    private let deployment: Deployment
    private let users: ConsoleUsers

    public init(_ deployment: Deployment) {
        self.deployment = deployment
        users = ConsoleUsers(deployment)
    }

    /// Seconds after which a session that nobody uses ends, and after which any does.
    public static let idleLimit = 30 * 60
    public static let absoluteLimit = 12 * 3_600
    /// Seconds after typing the password during which keys are shown and set.
    public static let freshLimit = 5 * 60

    /// A session that a browser named.
    public struct Signed: Sendable {
        public let session: Session
        public let name: String
        public let isFresh: Bool
        let userID: UUID
    }

    /// Signs a person in.
    ///
    /// - Returns: The token for the browser's cookie: 32 random bytes in base64url.
    /// - Throws: ``FieldsealError`` `.accessDenied`, in the same words whatever was wrong; `.requestQuotaExceeded` after too many
    ///   failures of this name from this address.
    public func signIn(
        _ name: String, password: String, code: String = "", to organization: Organization, address: String, requestID: String
    ) async throws -> String {
        try await failures(of: name, organization, address).slowDown(deployment.pool)
        return try await deployment.pool.withConnection { connection in
            let user = try verify(name, password, code, in: organization, address: address, requestID: requestID, on: connection)
            return try begin(user.id, address, on: connection)
        }
    }

    /// Signs a person in whom a provider vouches for.
    ///
    /// - Parameters:
    ///   - provider: Its name, for the record.
    ///   - isFresh: Whether the person proved himself to the provider just now.
    func signIn(
        _ id: UUID, through provider: String, isFresh: Bool, to organization: Organization, address: String, requestID: String
    ) async throws -> String {
        try await deployment.pool.withConnection { connection in
            let rows = try connection.query(
                "SELECT \(ConsoleUsers.columns) FROM config.console_user AS u WHERE u.user_id = $1 AND u.organization_id = $2 AND u.disabled_on IS NULL",
                [.uuid(id), .uuid(organization.id)])
            guard let user = try rows.first.flatMap(users.row) else {
                throw FieldsealError(.accessDenied, "This person was disabled here.")
            }
            let caller = Caller(
                actor: "user:\(user.name)", clientID: nil, systemUserID: user.systemUserID, role: user.role, address: address,
                requestID: requestID)
            return try connection.transaction {
                try SecurityEvent(.signedIn, .succeeded, details: "through \(provider)")
                    .insert(for: organization, by: caller, under: deployment.kek, on: connection)
                return try begin(user.id, address, isFresh: isFresh, on: connection)
            }
        }
    }

    /// Checks the password again, and gives the session another token under which keys may be shown and set.
    public func freshen(
        _ token: String, password: String, organization: Organization, address: String, requestID: String
    ) async throws -> String {
        return try await deployment.pool.withConnection { connection in
            guard let (user, _) = try find(token, organization.name, on: connection) else { throw Self.denied }
            _ = try verify(user.name, password, nil, in: organization, address: address, requestID: requestID, on: connection)
            _ = try connection.query("DELETE FROM config.console_session WHERE token_hash = $1", [.bytes(try hash(token))])
            return try begin(user.id, address, on: connection)
        }
    }

    /// The session of a token, if it is one of the organization's and has not ended.
    public func session(_ token: String, organization name: String, address: String?, requestID: String) async throws -> Signed? {
        try await deployment.pool.withConnection { connection in
            guard let (user, isFresh) = try find(token, name, on: connection) else { return nil }
            let state = try OrganizationState.read(name, on: connection)
            let caller = Caller(
                actor: "user:\(user.name)", clientID: nil, systemUserID: user.systemUserID, role: user.role, address: address,
                requestID: requestID)
            let session = Session(
                organization: state.organization, caller: caller, deployment: deployment, state: state, check: nil)
            return Signed(session: session, name: user.name, isFresh: isFresh, userID: user.id)
        }
    }

    /// Ends a session, or all of its person's.
    public func signOut(_ token: String, everywhere: Bool) async throws {
        try await deployment.pool.withConnection { connection in
            _ = try connection.query(
                everywhere
                    ? "DELETE FROM config.console_session WHERE user_id = (SELECT user_id FROM config.console_session WHERE token_hash = $1)"
                    : "DELETE FROM config.console_session WHERE token_hash = $1", [.bytes(try hash(token))])
        }
    }

    private static let denied = FieldsealError(.accessDenied, "The name, the password or the one-time password is wrong.")

    private func failures(of name: String, _ organization: Organization, _ address: String) -> FailedSignIns {
        FailedSignIns(
            account: "user:\(organization.id.text):\(name.lowercased().prefix(100))", address: address, policy: deployment.policy)
    }

    private func verify(
        _ name: String,
        _ password: String,
        _ code: String?,
        in organization: Organization,
        address: String,
        requestID: String,
        on connection: isolated PostgresConnection
    ) throws -> ConsoleUsers.Row {
        let failures = failures(of: name, organization, address)
        try failures.begin(on: connection)
        defer { try? failures.end(on: connection) }
        try failures.check(on: connection)
        let rows = try connection.query(
            """
            SELECT \(ConsoleUsers.columns) FROM config.console_user AS u
             WHERE u.organization_id = $1 AND lower(u.name) = lower($2) AND u.disabled_on IS NULL
            """, [.uuid(organization.id), .text(name)])
        let user = try rows.first.flatMap(users.row)
        // A name that is nobody's takes as long.
        let verifier = try PasswordVerifier.make(of: password, salt: user?.salt ?? [UInt8](repeating: 0, count: 16))
        var isRight = user.map { constantTimeEqual(verifier, $0.verifier) } ?? false
        // A session that goes on was begun with one.
        if isRight, let user, let code { isRight = try SecondFactor(deployment).isRight(code, for: user, on: connection) }
        if let user {
            let caller = Caller(
                actor: "user:\(user.name)", clientID: nil, systemUserID: user.systemUserID, role: user.role, address: address,
                requestID: requestID)
            try SecurityEvent(.signedIn, isRight ? .succeeded : .refused)
                .insert(for: organization, by: caller, under: deployment.kek, on: connection)
        }
        guard let user, isRight else {
            try failures.count(on: connection)
            throw Self.denied
        }
        try failures.clear(on: connection)
        return user
    }

    private func begin(_ user: UUID, _ address: String, isFresh: Bool = true, on connection: isolated PostgresConnection) throws
        -> String
    {
        let token = Data(try randomBytes(count: 32)).base64URL
        _ = try connection.query(
            "DELETE FROM config.console_session WHERE used_on < now() - $1 * interval '1 second' OR created_on < now() - $2 * interval '1 second'",
            [.double(Double(Self.idleLimit)), .double(Double(Self.absoluteLimit))])
        _ = try connection.query(
            """
            INSERT INTO config.console_session (token_hash, user_id, address, fresh_on)
            VALUES ($1, $2, $3, CASE WHEN $4 THEN now() ELSE '-infinity' END)
            """, [.bytes(try hash(token)), .uuid(user), .text(address), .bool(isFresh)])
        return token
    }

    private func find(
        _ token: String,
        _ organization: String,
        on connection: isolated PostgresConnection
    ) throws -> (user: ConsoleUsers.Row, isFresh: Bool)? {
        let rows = try connection.query(
            """
            UPDATE config.console_session AS s SET used_on = now()
              FROM config.console_user AS u JOIN config.organization AS o USING (organization_id)
             WHERE s.token_hash = $1 AND u.user_id = s.user_id AND u.disabled_on IS NULL AND o.name = $2
               AND s.used_on > now() - $3 * interval '1 second' AND s.created_on > now() - $4 * interval '1 second'
            RETURNING \(ConsoleUsers.columns), s.fresh_on > now() - $5 * interval '1 second'
            """,
            [
                .bytes(try hash(token)), .text(organization), .double(Double(Self.idleLimit)), .double(Double(Self.absoluteLimit)),
                .double(Double(Self.freshLimit)),
            ])
        guard let row = rows.first, let user = try users.row(row) else { return nil }
        return (user, try row.decode(9))
    }

    private func hash(_ token: String) throws -> [UInt8] { try sha256(Array(token.utf8)) }
}
