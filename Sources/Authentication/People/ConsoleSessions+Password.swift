import CellCrypto
import Foundation
import JSON
import Model
import PostgresClient
package import Tenancy

// Sign-in with a password. While an attempt waits for its turn or computes the password's hash, it holds no database connection.
extension ConsoleSessions {
    /// Signs a person in.
    ///
    /// - Returns: The token for the browser's cookie: 32 random bytes in base64url.
    /// - Throws: ``FieldsealError`` `.accessDenied`, with the same message for every reason; `.requestQuotaExceeded` after too many
    ///   failures, or while too many sign-ins are running.
    package func signIn(
        _ name: String, password: String, code: String = "", to organization: Organization, address: String, requestID: String
    ) async throws -> String {
        let attempt = SignInAttempt(
            name: name, password: password, code: code, person: nil, organization: organization, address: address,
            requestID: requestID)
        return try await verified(attempt) { user, change, connection in
            try begin(user, address, &change, on: connection)
        }
    }

    /// Checks the password again. Returns a new token for the session, with which keys may be shown and set.
    ///
    /// - Parameter code: The one-time password, for a person with two-step sign-in; nil if the operation for which the password is
    ///   asked checks a one-time password itself.
    package func reauthenticate(
        _ token: String, password: String, code: String?, organization: Organization, address: String, requestID: String
    ) async throws -> String {
        let found = try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
            return try find(token, in: state, on: connection)?.user
        }
        guard let found else { throw SignInAttempt.denied }
        let attempt = SignInAttempt(
            name: found.name, password: password, code: code, person: found.id, organization: organization, address: address,
            requestID: requestID)
        return try await verified(attempt) { user, change, connection in
            let signedInOn = try Self.begun(token, by: user, &change, on: connection)
            try Self.end("token_hash = $1", [.bytes(try Self.hash(token))], &change, on: connection)
            return try begin(user, address, signedInOn: signedInOn, &change, on: connection)
        }
    }

    /// The time at which the person signed in to the session. The new session keeps this time, so that confirming the password does
    /// not extend the limit of twelve hours.
    private static func begun(
        _ token: String, by user: ConsoleUsers.Row, _ change: inout AttestedChange, on connection: isolated PostgresConnection
    ) throws -> PostgresMoment {
        let rows = try connection.query(
            "SELECT token_hash, user_id, created_on, fresh_on, tag FROM config.console_session WHERE token_hash = $1 AND user_id = $2",
            [.bytes(try hash(token)), .uuid(user.id)])
        guard let (session, tag) = try rows.first.map(row),
            try change.grants.authenticates(session.grant(of: user), tag: tag, under: change.kek)
        else { throw SignInAttempt.denied }
        return session.createdOn
    }

    /// Changes the password of a signed-in person after checking their current password. All other sessions of the person end.
    ///
    /// - Returns: A new token for the browser's cookie.
    /// - Throws: ``FieldsealError`` `.invalidArgument` for a new password that breaks a rule or equals the old one; `.accessDenied`
    ///   if `old` is not the current password.
    package func changePassword(
        _ old: String, to new: String, of signed: AuthenticatedUser, address: String, requestID: String
    ) async throws -> String {
        let organization = signed.session.organization
        try PasswordRules.check(new, of: signed.name, in: organization.name)
        guard new != old else {
            throw FieldsealError(.invalidArgument, "The new password is the one that you have. Choose another one.")
        }
        let attempt = SignInAttempt(
            name: signed.name, password: old, code: nil, person: signed.userID, organization: organization, address: address,
            requestID: requestID)
        let salt = try deployment.hashing.newSalt()
        let derived = try await deployment.hashing.derive(new, salt: salt, for: .person(signed.userID))
        return try await verified(attempt) { user, change, connection in
            let user = try users.replacePassword(of: user, salt, derived, &change, on: connection)
            try change.append(
                SecurityEvent(.userReset, .succeeded, details: "\(user.name), their own"), by: signed.session.caller, on: connection
            )
            return try begin(user, address, &change, on: connection)
        }
    }

    /// Checks an attempt, records it, and runs `body` if it succeeds.
    private func verified(
        _ attempt: SignInAttempt,
        _ body: @Sendable (ConsoleUsers.Row, inout AttestedChange, isolated PostgresConnection) throws -> String
    ) async throws -> String {
        do {
            if let person = attempt.person {
                return try await deployment.confirmations.run(person) { try await checked(attempt, for: .person(person), body) }
            }
            let network = IPAddress.network(of: attempt.address)
            return try await deployment.signIns.run(network) { try await checked(attempt, for: .network(network), body) }
        } catch is AdmissionGate<String>.Full {
            throw PasswordHashing.busy
        } catch is AdmissionGate<UUID>.Full {
            throw PasswordHashing.busy
        }
    }

    private func checked(
        _ attempt: SignInAttempt, for asker: PasswordHashing.Asker,
        _ body: @Sendable (ConsoleUsers.Row, inout AttestedChange, isolated PostgresConnection) throws -> String
    ) async throws -> String {
        let failures = AttemptLimiter(
            try AttemptLimiter.name(attempt.name, in: attempt.organization.id, under: deployment.kek), from: attempt.address,
            policy: deployment.policy)
        let (user, decoy, wait) = try await deployment.pool.withConnection { connection in
            let user = try self.user(attempt, on: connection)
            return (user, try decoySalt(attempt, on: connection), try failures.begin(on: connection))
        }
        if wait > .zero { try await Task.sleep(for: wait) }
        let derived: [UInt8]
        do {
            // For an unknown name a hash is computed too, so that the response takes as long as for a known one.
            derived = try await deployment.hashing.derive(attempt.password, salt: user?.salt ?? decoy, for: asker)
        } catch {
            try? await deployment.pool.withConnection { try failures.withdraw(on: $0) }
            throw error
        }
        let token = try await deployment.pool.withConnection { connection in
            try conclude(attempt, user, derived, failures, on: connection, body)
        }
        guard let token else { throw attempt.denied }
        return token
    }

    private func user(_ attempt: SignInAttempt, on connection: isolated PostgresConnection) throws -> ConsoleUsers.Row? {
        let state = try OrganizationState.read(attempt.organization.name, in: deployment, on: connection)
        return try users.find("lower(u.name) = lower($2)", [.text(attempt.name)], in: state, on: connection)
    }

    /// A salt for an unknown name. The salt is that of an existing person, whom a hash of the name chooses, so that the same
    /// derivation runs. So response times do not reveal which names exist, even while some passwords are stored with scrypt and
    /// others with PBKDF2.
    private func decoySalt(_ attempt: SignInAttempt, on connection: isolated PostgresConnection) throws -> [UInt8] {
        let rows = try connection.query(
            """
            SELECT salt FROM config.console_user WHERE organization_id = $1
             ORDER BY hashtextextended(user_id::text || lower($2), 0) LIMIT 1
            """, [.uuid(attempt.organization.id), .text(attempt.name)])
        if let salt = try rows.first?.decode(0, as: PostgresBytes.self).bytes, PasswordVerifier.derivation(of: salt) != nil {
            return salt
        }
        return try deployment.hashing.newSalt()
    }

    /// Writes the result of an attempt. For an unknown name the same rows are written, and the event is then rolled back. So
    /// response times do not reveal which names exist, and attackers can't fill the event chain.
    ///
    /// - Returns: The result of `body`; nil when the attempt is refused.
    private func conclude(
        _ attempt: SignInAttempt, _ known: ConsoleUsers.Row?, _ derived: [UInt8], _ failures: AttemptLimiter,
        on connection: isolated PostgresConnection,
        _ body: (ConsoleUsers.Row, inout AttestedChange, isolated PostgresConnection) throws -> String
    ) throws -> String? {
        // The password may have been reset, or the person disabled, while the password was derived.
        let now = try user(attempt, on: connection)
        let user = now?.id == known?.id && now?.verifier == known?.verifier ? now : nil
        let check = try user.map { user in
            let layers = try VerifierLayers.read(of: user, under: deployment.kek, on: connection)
            return try deployment.hashing.check(derived, stored: user.verifier, salt: user.salt, layers: layers)
        }
        var isRight = check == .current || check == .outdated
        // An attempt without a code confirms a running session. The running session began with a code, if a code was required.
        if isRight, let user, let code = attempt.code {
            isRight = try SecondFactor(deployment).isRight(code, for: user, in: attempt.organization, on: connection)
        }
        let caller = Caller(
            actor: "user:\(known?.name ?? "")", clientID: nil, systemUserID: known?.systemUserID, role: known?.role ?? .basicUser,
            address: attempt.address, requestID: attempt.requestID)
        let event = SecurityEvent(attempt.kind, isRight ? .succeeded : .refused)
        return try connection.transaction {
            guard let user, isRight else {
                try connection.execute("SAVEPOINT event")
                try event.insert(for: attempt.organization, by: caller, under: deployment.kek, on: connection)
                try connection.execute(known == nil ? "ROLLBACK TO SAVEPOINT event" : "RELEASE SAVEPOINT event")
                try failures.fail(on: connection)
                return nil
            }
            let token = try AttestedState.change(of: attempt.organization, under: deployment.kek, on: connection) { change in
                // The user's row was verified before the lock. The new verifier is stored with the row's other contents, so these
                // must not have changed.
                guard try change.grants.holds(user.grant, under: change.kek) else { throw PasswordHashing.busy }
                try change.append(event, by: caller, on: connection)
                if check == .outdated { try users.store(derived, of: user, &change, on: connection) }
                return try body(user, &change, connection)
            }
            try failures.succeed(on: connection)
            return token
        }
    }
}

/// The person's input, and where it came from.
private struct SignInAttempt: Sendable {
    let name: String
    let password: String
    /// The one-time password; nil if none is required.
    let code: String?
    /// The person who is signed in and confirms their password; nil for a sign-in.
    let person: UUID?
    let organization: Organization
    let address: String
    let requestID: String

    static let denied = FieldsealError(.accessDenied, "The name, the password or the one-time password is wrong.")

    /// The kind of the attempt's security event.
    var kind: SecurityEvent.Kind { person == nil ? .signedIn : .passwordConfirmed }

    var denied: FieldsealError {
        guard person != nil else { return Self.denied }
        return FieldsealError(
            .accessDenied, code == nil ? "The password is wrong." : "The password or the one-time password is wrong.")
    }
}
