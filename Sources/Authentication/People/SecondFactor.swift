package import CellCrypto
package import Foundation
import JSON
import Model
import PostgresClient
package import Tenancy

/// One-time passwords of a person, and recovery codes in case the telephone is lost.
package struct SecondFactor: Sendable {
    private let deployment: Deployment

    package init(_ deployment: Deployment) {
        self.deployment = deployment
    }

    /// How many recovery codes a person gets.
    private static let recoveryCodeCount = 10
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")

    /// A seed for a person's authenticator.
    package struct Offer: Sendable {
        /// The seed in base 32 (RFC 4648 section 6), as authenticators accept it.
        package let secret: String
        /// The sealed seed for this person. The form that confirms it sends it back.
        package let sealed: String
    }

    /// Makes a seed. It is not stored before it is confirmed.
    package func offer(to signed: ConsoleSessions.AuthenticatedUser) throws -> Offer {
        let seed = try randomBytes(count: OneTimePassword.seedLength)
        let secret = seed.withUnsafeBytes { SecretBytes(copying: $0) }
        let cell = try signed.session.kek.seal(secret, at: Self.address(signed.userID, signed.session.organization.id))
        return Offer(secret: Self.base32(seed), sealed: Data(cell.bytes).base64URL)
    }

    /// Turns one-time passwords on, after checking a first one.
    ///
    /// - Returns: The recovery codes, which are shown once and stored as SHA-256.
    /// - Throws: ``FieldsealError`` `.invalidArgument` when the code is wrong.
    package func confirm(_ sealed: String, code: String, for signed: ConsoleSessions.AuthenticatedUser) async throws -> [String] {
        guard let bytes = Data(base64URL: sealed).map(Array.init),
            let seed = try? deployment.kek.open(bytes, at: Self.address(signed.userID, signed.session.organization.id)),
            let step = try Self.step(of: code, seed: seed)
        else { throw FieldsealError(.invalidArgument, "The code is not the one of this secret. Is the telephone's clock right?") }
        let codes = try (0..<Self.recoveryCodeCount).map { _ in Self.grouped(Self.base32(try randomBytes(count: 10))) }
        try await store(bytes, step, codes, for: signed, .secondFactorOn)
        return codes
    }

    /// The seed of an unconfirmed offer, in base 32.
    ///
    /// - Returns: Nil if it was not offered to this person.
    package func secret(of sealed: String, for signed: ConsoleSessions.AuthenticatedUser) -> String? {
        guard let bytes = Data(base64URL: sealed).map(Array.init),
            let seed = try? deployment.kek.open(bytes, at: Self.address(signed.userID, signed.session.organization.id))
        else { return nil }
        return seed.withBytes { Self.base32(Array($0)) }
    }

    /// Turns one-time passwords off, after checking one.
    ///
    /// - Parameter code: A current one-time password, or a recovery code. It is used up.
    /// - Throws: ``FieldsealError`` `.invalidArgument` when the code is wrong; `.requestQuotaExceeded` after too many attempts.
    package func end(_ code: String, for signed: ConsoleSessions.AuthenticatedUser) async throws {
        guard try !signed.session.rolesWithSecondFactor().contains(signed.session.caller.role) else {
            throw FieldsealError(
                .invalidArgument,
                "Your role needs one-time passwords, so they can't be turned off. A System Administrator decides that for each role."
            )
        }
        let failures = AttemptLimiter(
            .known("code:\(signed.userID.text)"), from: signed.session.caller.address ?? "", policy: deployment.policy)
        let wait = try await deployment.pool.withConnection { try failures.begin(on: $0) }
        if wait > .zero { try await Task.sleep(for: wait) }
        let checked = try await deployment.pool.withConnection { connection -> ConsoleUsers.Row? in
            let rows = try connection.query(
                "SELECT \(ConsoleUsers.columns) FROM config.console_user AS u WHERE u.user_id = $1", [.uuid(signed.userID)])
            guard let (user, _) = try rows.first.flatMap(ConsoleUsers.row),
                try user.totp == nil || self.isRight(code, for: user, in: signed.session.organization, on: connection)
            else {
                try failures.fail(on: connection)
                return nil
            }
            try failures.succeed(on: connection)
            return user
        }
        guard let checked else {
            throw FieldsealError(
                .invalidArgument,
                "The code is wrong, and one-time passwords stay on. Type the code that the authenticator shows now, or a recovery code."
            )
        }
        try await store(nil, 0, [], for: signed, .secondFactorOff) { constantTimeEqual($0.totp ?? [], checked.totp ?? []) }
    }

    /// Whether a person has one-time passwords.
    package func isOn(for signed: ConsoleSessions.AuthenticatedUser) async throws -> Bool {
        try await deployment.pool.withConnection { connection in
            try connection.query("SELECT totp IS NOT NULL FROM config.console_user WHERE user_id = $1", [.uuid(signed.userID)])
                .first?.decode(0) ?? false
        }
    }

    /// - Parameter condition: Whether the verified row is the one that a code was checked for.
    private func store(
        _ totp: [UInt8]?,
        _ step: Int,
        _ codes: [String],
        for signed: ConsoleSessions.AuthenticatedUser,
        _ kind: SecurityEvent.Kind,
        if condition: @Sendable (ConsoleUsers.Row) -> Bool = { _ in true }
    ) async throws {
        try await deployment.pool.withConnection { connection in
            let organization = signed.session.organization
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                let rows = try connection.query(
                    "SELECT \(ConsoleUsers.columns) FROM config.console_user AS u WHERE u.user_id = $1 FOR UPDATE",
                    [.uuid(signed.userID)])
                guard let (found, tag) = try rows.first.flatMap(ConsoleUsers.row),
                    try change.grants.authenticates(found.grant, tag: tag, under: deployment.kek), condition(found)
                else { throw FieldsealError(.accessDenied, "This account is not honoured.") }
                var user = found
                user.totp = try totp.map { offered in
                    // The offer was sealed under the key-encryption key of that time.
                    let address = Self.address(user.id, user.organizationID)
                    return try change.kek.seal(change.kek.open(offered, at: address), at: address).bytes
                }
                _ = try connection.query(
                    "UPDATE config.console_user SET totp = $2, totp_step = $3, tag = $4 WHERE user_id = $1",
                    [.uuid(user.id), .bytes(user.totp), .int64(Int64(step)), .bytes(try change.grant(user.grant))])
                try Self.removeCodes(of: user.id, &change, on: connection)
                for code in codes {
                    let grant = Self.grant(try Self.hash(code), of: user)
                    _ = try connection.query(
                        "INSERT INTO config.console_recovery_code (user_id, hash, tag) VALUES ($1, $2, $3)",
                        [.uuid(user.id), .bytes(try Self.hash(code)), .bytes(try change.grant(grant))])
                }
                try change.append(SecurityEvent(kind, .succeeded), by: signed.session.caller, on: connection)
            }
        }
    }

    /// Deletes a person's recovery codes, and removes them from the attested list.
    static func removeCodes(
        of user: UUID,
        _ change: inout AttestedChange,
        on connection: isolated PostgresConnection
    ) throws {
        let removed = try connection.query(
            "DELETE FROM config.console_recovery_code WHERE user_id = $1 RETURNING hash", [.uuid(user)])
        for row in removed { try change.remove(name(user, try row.decode(0, as: PostgresBytes.self).bytes)) }
    }

    static func name(_ user: UUID, _ hash: [UInt8]) -> Grant.Name { Grant.Name(.recoveryCode, [user.bytes, hash]) }

    /// The attested contents of a recovery code. They include the sealed seed, so codes of an earlier seed have no effect.
    package static func grant(_ hash: [UInt8], of user: ConsoleUsers.Row) -> Grant {
        Grant(name(user.id, hash), [Grant.field(user.totp)])
    }

    /// Whether a code is a current one-time password of the person, or one of their recovery codes. Each is accepted once.
    func isRight(
        _ code: String, for user: ConsoleUsers.Row, in organization: Organization, on connection: isolated PostgresConnection
    ) throws -> Bool {
        guard let totp = user.totp else { return true }
        let seed = try deployment.kek.open(totp, at: Self.address(user.id, user.organizationID))
        if let step = try Self.step(of: code, seed: seed) {
            let taken = try connection.query(
                "UPDATE config.console_user SET totp_step = $2 WHERE user_id = $1 AND totp_step < $2 RETURNING 1",
                [.uuid(user.id), .int64(Int64(step))])
            return !taken.isEmpty
        }
        let grant = Self.grant(try Self.hash(code), of: user)
        return try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
            let used = try connection.query(
                "DELETE FROM config.console_recovery_code WHERE user_id = $1 AND hash = $2 RETURNING tag",
                [.uuid(user.id), .bytes(try Self.hash(code))])
            guard let row = used.first, !row.isNull(0),
                try change.grants.authenticates(grant, tag: row.decode(0, as: PostgresBytes.self).bytes, under: deployment.kek)
            else { return false }
            try change.remove(grant.name)
            return true
        }
    }

    /// The time step of a code: the current one or a neighbor.
    private static func step(of code: String, seed: SecretBytes) throws -> Int? {
        let typed = Array(code.filter { !$0.isWhitespace }.utf8)
        let now = OneTimePassword.step(at: Date())
        return try seed.withBytes { seed in
            try (now - 1...now + 1).first {
                constantTimeEqual(typed, Array(try OneTimePassword.digits(seed: seed, step: $0).utf8))
            }
        }
    }

    package static func address(_ user: UUID, _ organization: UUID) -> CellAddress {
        CellAddress(organization: organization, record: user, attribute: "consoleuser.totp")
    }

    private static func hash(_ code: String) throws -> [UInt8] {
        try sha256(Array(code.uppercased().filter { $0.isLetter || $0.isNumber }.utf8))
    }

    private static func grouped(_ text: String) -> String {
        stride(from: 0, to: text.count, by: 4).map { text.dropFirst($0).prefix(4) }.joined(separator: "-")
    }

    private static func base32(_ bytes: [UInt8]) -> String {
        var text = ""
        var buffer = 0
        var bits = 0
        for byte in bytes {
            buffer = (buffer << 8 | Int(byte)) & 0xFFFF
            bits += 8
            while bits >= 5 {
                text.append(alphabet[buffer >> (bits - 5) & 31])
                bits -= 5
            }
        }
        return text
    }
}
