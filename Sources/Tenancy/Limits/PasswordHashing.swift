package import CellCrypto
import Dispatch
import Foundation
package import Model

/// Computes what is slow on purpose, scrypt and PBKDF2, on threads of its own and without a database connection.
///
/// Half of the processors at most are busy with it, and two at most; each network has one computation at a time. Beyond a
/// bounded queue callers are refused.
package final class PasswordHashing: Sendable {
    private let queue = DispatchQueue(label: "fieldseal.hashing", attributes: .concurrent)
    private let gate: AdmissionGate<String>
    private let kek: KeyEncryptionKey
    private let derivation: PasswordVerifier.Derivation

    private static let running = min(2, max(1, ProcessInfo.processInfo.activeProcessorCount / 2))
    private static let waiting = 32
    private static let waitingPerNetwork = 4

    init(_ kek: KeyEncryptionKey, _ derivation: PasswordVerifier.Derivation) {
        self.kek = kek
        self.derivation = derivation
        gate = AdmissionGate(
            .init(running: Self.running, runningPerKey: 1, waiting: Self.waiting, waitingPerKey: Self.waitingPerNetwork))
    }

    /// A salt for a new password, which says how it is derived.
    ///
    /// - Throws: ``FieldsealError`` where libcrypto has not what the setting names.
    package func newSalt() throws -> [UInt8] {
        guard derivation != .scrypt || CryptoLibrary.hasScrypt else {
            throw FieldsealError(
                .invalidArgument,
                "No provider of libcrypto has scrypt, as in FIPS mode. Set passwords.derivation to pbkdf2 in the settings of every server."
            )
        }
        return try PasswordVerifier.newSalt(derivation)
    }

    /// What scrypt or PBKDF2 makes of a password (``PasswordVerifier``): ``verifier(of:salt:under:)`` makes of it what is stored.
    ///
    /// - Throws: 429 when too many wait already; nothing was computed then. 403 where libcrypto has no scrypt and the salt is for it.
    package func derive(_ password: String, salt: [UInt8], for network: String) async throws -> [UInt8] {
        guard PasswordVerifier.derivation(of: salt) != .scrypt || CryptoLibrary.hasScrypt else {
            throw FieldsealError(
                .accessDenied,
                "This server can't check the password, because it was set before the server's FIPS mode. Ask an administrator to reset it."
            )
        }
        return try await compute(for: network) { try PasswordVerifier.make(of: password, salt: salt) }
    }

    /// What is stored of a password: a tag of the key-encryption key over what scrypt or PBKDF2 made of it, so that a copy of the database
    /// alone does not show whether a guess is right.
    package static func verifier(of derived: [UInt8], salt: [UInt8], under kek: KeyEncryptionKey) throws -> [UInt8] {
        try kek.tag(label: tagLabel, over: [salt, derived])
    }

    package static let tagLabel = "console_password"

    /// Whether a password is the one that is stored, and whether what is stored of it should be made anew: an earlier version stored what scrypt
    /// made of it, and a rotation of the key-encryption key leaves layers of the keys before.
    ///
    /// - Parameters:
    ///   - derived: What ``derive(_:salt:for:)`` returned.
    ///   - layers: The subkeys that the stored verifier was made with before the current one, the oldest first.
    package func check(
        _ derived: [UInt8], stored: [UInt8], salt: [UInt8], layers: [SecretBytes]
    ) throws -> (isRight: Bool, isOutdated: Bool) {
        if constantTimeEqual(try Self.verifier(of: derived, salt: salt, under: kek), stored) { return (true, false) }
        if constantTimeEqual(derived, stored) { return (true, true) }
        for member in kek.each {
            // A verifier may be younger than the oldest layers, or be one that an earlier version stored.
            for first in 0...layers.count {
                let inner = try layers[first...].reduce(derived) { try KeyEncryptionKey.tag(under: $1, over: [salt, $0]) }
                let verifier = try Self.verifier(of: inner, salt: salt, under: member)
                if constantTimeEqual(verifier, stored) { return (true, true) }
            }
        }
        return (false, false)
    }

    /// Runs `work` when it is its turn.
    package func compute<Result: Sendable>(for network: String, _ work: @escaping @Sendable () throws -> Result) async throws
        -> Result
    {
        do {
            return try await gate.run(network) {
                try await withCheckedThrowingContinuation { continuation in
                    queue.async { continuation.resume(with: Swift.Result { try work() }) }
                }
            }
        } catch is AdmissionGate<String>.Full {
            throw Self.busy
        }
    }

    package static let busy = FieldsealError(
        .requestQuotaExceeded, "Too many sign-ins are under way. Wait, then try again.", retryAfter: 2)
}
