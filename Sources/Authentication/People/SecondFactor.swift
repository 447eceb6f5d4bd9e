package import CellCrypto
package import Foundation
import JSON
import Model
import PostgresClient
package import Tenancy

/// One-time passwords of a person, and recovery codes to sign in without the authenticator.
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
        /// The seed, sealed for this person. The form sends this sealed seed back with the first code.
        package let sealed: String
    }

    /// Makes a seed. The seed is stored only when the person confirms it with a code.
    ///
    /// - Throws: ``FieldsealError`` `.invalidArgument` while one-time passwords are on.
    package func offer(to signed: ConsoleSessions.AuthenticatedUser) async throws -> Offer {
        let rows = try await deployment.pool.withConnection { connection in
            try connection.query(
                "SELECT totp IS NULL, totp_step FROM config.console_user WHERE user_id = $1", [.uuid(signed.userID)])
        }
        guard let row = rows.first, try row.decode(0, as: Bool.self) else { throw Self.alreadyOn }
        let seed = try randomBytes(count: OneTimePassword.seedLength)
        let mark = Int64(try row.decode(1, as: Int.self))
        let content = (seed + withUnsafeBytes(of: mark.bigEndian, Array.init)).withUnsafeBytes { SecretBytes(copying: $0) }
        let cell = try signed.session.kek.seal(content, at: Self.offerAddress(signed.userID, signed.session.organization.id))
        return Offer(secret: Self.base32(seed), sealed: Data(cell.bytes).base64URL)
    }

    /// Turns one-time passwords on, after checking the first one-time password. All offers of the person then end.
    ///
    /// - Returns: The recovery codes, which are shown once and stored as SHA-256.
    /// - Throws: ``FieldsealError`` `.invalidArgument` when the code is wrong, the offer has ended, or one-time passwords are on.
    package func confirm(_ sealed: String, code: String, for signed: ConsoleSessions.AuthenticatedUser) async throws -> [String] {
        guard let offered = opened(sealed, for: signed) else { throw Self.wrongCode }
        let step = try Self.step(of: code, seed: offered.seed)
        let codes = try Self.newCodes()
        try await store(codes, for: signed, .secondFactorOn) { user, newest, change in
            // If the form was sent twice, its code is often too old by now. "Already on" is then more helpful than "wrong code".
            guard user.totp == nil else { throw Self.alreadyOn }
            guard newest == offered.mark else { throw Self.endedOffer }
            guard let step else { throw Self.wrongCode }
            user.totp = try change.kek.seal(offered.seed, at: Self.address(user.id, user.organizationID)).bytes
            newest = Int64(step)
        }
        return codes
    }

    /// The seed of an unconfirmed offer, in base 32.
    ///
    /// - Returns: Nil if the seed was not offered to this person, or can't be confirmed any more.
    package func secret(of sealed: String, for signed: ConsoleSessions.AuthenticatedUser) async throws -> String? {
        guard let offered = opened(sealed, for: signed) else { return nil }
        let isOpen = try await deployment.pool.withConnection { connection in
            try connection.query(
                "SELECT 1 FROM config.console_user WHERE user_id = $1 AND totp IS NULL AND totp_step = $2",
                [.uuid(signed.userID), .int64(offered.mark)])
        }
        return isOpen.isEmpty ? nil : offered.seed.withBytes { Self.base32(Array($0)) }
    }

    /// The seed of an offer, and the person's `totp_step` when the offer was made. Nil if the text is no offer to this person.
    private func opened(_ sealed: String, for signed: ConsoleSessions.AuthenticatedUser) -> (seed: SecretBytes, mark: Int64)? {
        guard let bytes = Data(base64URL: sealed).map(Array.init),
            let content = try? deployment.kek.open(bytes, at: Self.offerAddress(signed.userID, signed.session.organization.id)),
            content.count == OneTimePassword.seedLength + 8
        else { return nil }
        return content.withBytes { content in
            let mark = content.suffix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            return (
                SecretBytes(copying: UnsafeRawBufferPointer(rebasing: content.prefix(OneTimePassword.seedLength))),
                Int64(bitPattern: mark)
            )
        }
    }

    private static let wrongCode = FieldsealError(
        .invalidArgument, "The code does not match this secret. Check that the telephone's clock is right.")
    private static let alreadyOn = FieldsealError(
        .invalidArgument,
        "One-time passwords are on already, so nothing was changed. The recovery codes that were shown before are still valid. "
            + "To use another authenticator, turn one-time passwords off first.")
    private static let endedOffer = FieldsealError(
        .invalidArgument,
        "This secret has ended: one-time passwords were turned on or off since it was shown. Nothing was changed. Begin again.")

    /// Turns one-time passwords off, after checking a code.
    ///
    /// - Parameter code: A current one-time password, or a recovery code. The code can't be used again.
    /// - Throws: ``FieldsealError`` `.invalidArgument` when the code is wrong; `.requestQuotaExceeded` after too many attempts.
    package func end(_ code: String, for signed: ConsoleSessions.AuthenticatedUser) async throws {
        guard try !signed.session.rolesWithSecondFactor().contains(signed.session.caller.role) else {
            throw FieldsealError(
                .invalidArgument,
                "Your role needs one-time passwords, so they can't be turned off. A System Administrator decides that for each role."
            )
        }
        let checked = try await confirmed(code, of: signed)
        // While one-time passwords are off, no time step is needed. So `totp_step` gets a negative time instead, which ends all
        // earlier offers.
        let mark = -Int64(Date().timeIntervalSince1970 * 1_000)
        try await store([], for: signed, .secondFactorOff) { user, newest, _ in
            guard constantTimeEqual(user.totp ?? [], checked.totp ?? []) else { throw Self.notHonoured }
            (user.totp, newest) = (nil, mark)
        }
    }

    /// Replaces the recovery codes, after checking a code as ``end(_:for:)`` does.
    ///
    /// - Parameter marks: The ``marks(of:)`` of the recovery codes that the person had when the form was loaded; nil if the form
    ///   has no marks. If the form is sent again, the marks show that the form replaced the codes already.
    /// - Returns: The new recovery codes. The old codes are not accepted any more.
    package func replaceRecoveryCodes(
        _ code: String, marks: [String]?, for signed: ConsoleSessions.AuthenticatedUser
    ) async throws -> [String] {
        let checked: ConsoleUsers.Row
        do {
            checked = try await confirmed(code, of: signed, toReplaceCodes: true)
        } catch let error as FieldsealError where error.code == .invalidArgument {
            guard let marks, try await !Set(self.marks(of: signed)).isSubset(of: marks) else { throw error }
            throw Self.codesReplaced
        }
        guard checked.totp != nil else {
            throw FieldsealError(.invalidArgument, "One-time passwords are off, so there are no recovery codes.")
        }
        let codes = try Self.newCodes()
        try await store(codes, for: signed, .recoveryCodesReplaced) { user, _, _ in
            guard let totp = user.totp, constantTimeEqual(totp, checked.totp ?? []) else { throw Self.notHonoured }
        }
        return codes
    }

    /// Checks a code of the signed-in person, and returns the person's row.
    ///
    /// - Parameter toReplaceCodes: True if the code is sent to replace the recovery codes; false if it is sent to turn one-time
    ///   passwords off.
    private func confirmed(
        _ code: String, of signed: ConsoleSessions.AuthenticatedUser, toReplaceCodes: Bool = false
    ) async throws -> ConsoleUsers.Row {
        let failures = AttemptLimiter(
            .codes(of: signed.userID), from: signed.session.caller.address ?? "", policy: deployment.policy)
        let wait = try await deployment.pool.withConnection { try failures.begin(on: $0) }
        if wait > .zero { try await Task.sleep(for: wait) }
        let (checked, verdict) = try await deployment.pool.withConnection { connection -> (ConsoleUsers.Row?, Verdict) in
            let rows = try connection.query(
                "SELECT \(ConsoleUsers.columns) FROM config.console_user AS u WHERE u.user_id = $1", [.uuid(signed.userID)])
            let user = try rows.first.flatMap(ConsoleUsers.row)?.row
            let verdict = try user.map { try self.verdict(on: code, for: $0, in: signed.session.organization, on: connection) }
            guard verdict == .right else {
                try failures.fail(on: connection)
                return (nil, verdict ?? .wrong)
            }
            try failures.succeed(on: connection)
            return (user, .right)
        }
        guard verdict != .locked else { throw Self.locked(deployment.policy) }
        guard let checked else {
            throw toReplaceCodes ? Self.codesStay(verdict) : Self.staysOn(verdict)
        }
        return checked
    }

    private static func locked(_ policy: KeyPolicy) -> FieldsealError {
        FieldsealError(
            .requestQuotaExceeded,
            "Too many wrong one-time passwords were typed for this account. Type a recovery code, or wait 15 minutes.",
            retryAfter: policy.failureInterval)
    }

    private static func staysOn(_ verdict: Verdict) -> FieldsealError {
        FieldsealError(
            .invalidArgument,
            verdict == .used
                ? "The code was used already, and nothing was changed. Wait until the authenticator shows the next one."
                : "The code is wrong, and one-time passwords stay on. "
                    + "Type the code that the authenticator shows now, or a recovery code.")
    }

    /// The error for a code that was not accepted to replace the recovery codes. A browser sends a used code again when the page
    /// with the new recovery codes is reloaded.
    private static func codesStay(_ verdict: Verdict) -> FieldsealError {
        FieldsealError(
            .invalidArgument,
            verdict == .used
                ? "The code was used already, and nothing was changed. The recovery codes that were shown last are valid. "
                    + "To get new ones, wait until the authenticator shows the next code."
                : "The code is wrong, and the recovery codes stay as they are. "
                    + "Type the code that the authenticator shows now, or a recovery code.")
    }

    private static let codesReplaced = FieldsealError(
        .invalidArgument,
        "The recovery codes were replaced since this page was opened, and the new ones are valid. Nothing was changed now, "
            + "because this code is wrong or was used already. To replace the recovery codes again, type another code.")

    /// A short mark of each recovery code that a person has left. The mark tells nothing about the code.
    package func marks(of signed: ConsoleSessions.AuthenticatedUser) async throws -> [String] {
        let rows = try await deployment.pool.withConnection { connection in
            try connection.query(
                "SELECT hash FROM config.console_recovery_code WHERE user_id = $1 AND tag IS NOT NULL", [.uuid(signed.userID)])
        }
        return try rows.map { row in
            let hash = try row.decode(0, as: PostgresBytes.self).bytes
            return Data(try sha256(Array("mark".utf8) + hash).prefix(6)).base64URL
        }
    }

    /// The number of recovery codes that a person has left.
    ///
    /// - Returns: Nil without one-time passwords.
    package func recoveryCodes(for signed: ConsoleSessions.AuthenticatedUser) async throws -> Int? {
        try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(signed.session.organization.name, in: deployment, on: connection)
            let rows = try connection.query(
                "SELECT \(ConsoleUsers.columns) FROM config.console_user AS u WHERE u.user_id = $1", [.uuid(signed.userID)])
            guard let user = try rows.first.flatMap(ConsoleUsers.row)?.row, user.totp != nil else { return nil }
            let codes = try connection.query(
                "SELECT hash, tag FROM config.console_recovery_code WHERE user_id = $1 AND tag IS NOT NULL", [.uuid(user.id)])
            return try codes.filter { row in
                let grant = Self.grant(try row.decode(0, as: PostgresBytes.self).bytes, of: user)
                return try state.grants.authenticates(
                    grant, tag: row.decode(1, as: PostgresBytes.self).bytes, under: deployment.kek)
            }.count
        }
    }

    private static let notHonoured = FieldsealError(
        .accessDenied,
        "The row of this account was not written by the service, so the account is not accepted. Ask an administrator to run "
            + "fieldseal doctor."
    )

    private static func newCodes() throws -> [String] {
        try (0..<recoveryCodeCount).map { _ in grouped(base32(try randomBytes(count: 10))) }
    }

    /// Changes a person's one-time passwords, and replaces their recovery codes.
    ///
    /// - Parameter edit: Runs while the person's row is locked. `edit` may change the sealed seed and the newest time step, or
    ///   throw.
    private func store(
        _ codes: [String],
        for signed: ConsoleSessions.AuthenticatedUser,
        _ kind: SecurityEvent.Kind,
        _ edit: @Sendable (inout ConsoleUsers.Row, _ newest: inout Int64, AttestedChange) throws -> Void
    ) async throws {
        try await deployment.pool.withConnection { connection in
            let organization = signed.session.organization
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                let rows = try connection.query(
                    "SELECT \(ConsoleUsers.columns), u.totp_step FROM config.console_user AS u WHERE u.user_id = $1 FOR UPDATE",
                    [.uuid(signed.userID)])
                guard let row = rows.first, let (found, tag) = try ConsoleUsers.row(row),
                    try change.grants.authenticates(found.grant, tag: tag, under: deployment.kek)
                else { throw Self.notHonoured }
                var user = found
                var newest = Int64(try row.decode(ConsoleUsers.columnCount, as: Int.self))
                try edit(&user, &newest, change)
                _ = try connection.query(
                    "UPDATE config.console_user SET totp = $2, totp_step = $3, tag = $4 WHERE user_id = $1",
                    [.uuid(user.id), .bytes(user.totp), .int64(newest), .bytes(try change.grant(user.grant))])
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

    /// Deletes a person's recovery codes, and ends all of them in the attested list. So a code whose row SQL had removed has no
    /// effect if SQL restores the row.
    static func removeCodes(
        of user: UUID,
        _ change: inout AttestedChange,
        on connection: isolated PostgresConnection
    ) throws {
        let removed = try connection.query(
            "DELETE FROM config.console_recovery_code WHERE user_id = $1 RETURNING hash", [.uuid(user)])
        for row in removed { try change.remove(name(user, try row.decode(0, as: PostgresBytes.self).bytes)) }
        try change.end(codes(of: user))
    }

    static func name(_ user: UUID, _ hash: [UInt8]) -> Grant.Name { Grant.Name(.recoveryCode, [user.bytes, hash]) }

    /// The name of the group of all recovery codes of a person in the attested list.
    private static func codes(of user: UUID) -> Grant.Name { Grant.Name(.codes, [user.bytes]) }

    /// The attested contents of a recovery code. The contents include the sealed seed, so codes of an earlier seed have no effect.
    package static func grant(_ hash: [UInt8], of user: ConsoleUsers.Row) -> Grant {
        Grant(name(user.id, hash), [Grant.field(user.totp)], in: codes(of: user.id))
    }

    /// The result of checking a code. The message about a used code is only shown to a person who is signed in.
    private enum Verdict {
        case right, used, wrong
        /// Too many one-time passwords were wrong, so none is accepted for a time. The code is not a recovery code.
        case locked
    }

    /// Whether a code is a current one-time password of the person, or one of their recovery codes. Each code is accepted once.
    ///
    /// After too many wrong codes only recovery codes are accepted. The answer does not say so, because it would then say that the
    /// password was right.
    func isRight(
        _ code: String, for user: ConsoleUsers.Row, in organization: Organization, on connection: isolated PostgresConnection
    ) throws -> Bool {
        try verdict(on: code, for: user, in: organization, on: connection) == .right
    }

    private func verdict(
        on code: String, for user: ConsoleUsers.Row, in organization: Organization, on connection: isolated PostgresConnection
    ) throws -> Verdict {
        guard let totp = user.totp else { return .right }
        guard !code.isEmpty else { return .wrong }
        let failures = AttemptLimiter(.codesFromEverywhere(of: user.id), from: "", policy: deployment.policy)
        guard try failures.mayTry(on: connection) else {
            return try takesRecoveryCode(code, of: user, in: organization, on: connection) ? .right : .locked
        }
        let verdict = try self.verdict(on: code, for: user, totp, in: organization, on: connection)
        if verdict == .right { try failures.withdraw(on: connection) }
        return verdict
    }

    private func verdict(
        on code: String, for user: ConsoleUsers.Row, _ totp: [UInt8], in organization: Organization,
        on connection: isolated PostgresConnection
    ) throws -> Verdict {
        let seed = try deployment.kek.open(totp, at: Self.address(user.id, user.organizationID))
        if let step = try Self.step(of: code, seed: seed) {
            let taken = try connection.query(
                "UPDATE config.console_user SET totp_step = $2 WHERE user_id = $1 AND totp_step < $2 RETURNING 1",
                [.uuid(user.id), .int64(Int64(step))])
            return taken.isEmpty ? .used : .right
        }
        return try takesRecoveryCode(code, of: user, in: organization, on: connection) ? .right : .wrong
    }

    /// Whether a code is a recovery code of the person. The code can't be used again.
    private func takesRecoveryCode(
        _ code: String, of user: ConsoleUsers.Row, in organization: Organization, on connection: isolated PostgresConnection
    ) throws -> Bool {
        let hash = try Self.hash(code)
        let grant = Self.grant(hash, of: user)
        return try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
            let rows = try connection.query(
                "SELECT tag FROM config.console_recovery_code WHERE user_id = $1 AND hash = $2 AND tag IS NOT NULL FOR UPDATE",
                [.uuid(user.id), .bytes(hash)])
            // A row that does not verify is not deleted, because it is evidence for the doctor.
            guard let row = rows.first,
                try change.grants.authenticates(grant, tag: row.decode(0, as: PostgresBytes.self).bytes, under: deployment.kek)
            else { return false }
            _ = try connection.query(
                "DELETE FROM config.console_recovery_code WHERE user_id = $1 AND hash = $2", [.uuid(user.id), .bytes(hash)])
            try change.remove(grant.name)
            // Without an event in this transaction, SQL could put back the row and the attested state, and the code with them.
            let caller = Caller(
                actor: "user:\(user.name)", clientID: nil, systemUserID: user.systemUserID, role: user.role, address: nil,
                requestID: nil)
            try change.append(SecurityEvent(.recoveryCodeUsed, .succeeded), by: caller, on: connection)
            return true
        }
    }

    /// The time step of a code: the current step, or the one before or after it. Nil if the code is wrong.
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

    private static func offerAddress(_ user: UUID, _ organization: UUID) -> CellAddress {
        CellAddress(organization: organization, record: user, attribute: "consoleuser.offer")
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
