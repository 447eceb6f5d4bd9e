package import CellCrypto
import Dispatch
package import Foundation
import JSON
package import Model

/// Computes scrypt and PBKDF2, which are slow on purpose, on separate threads and without a database connection.
///
/// At most half of the processors are used, and at most two. Each network has one computation at a time, and so has each signed-in
/// person who confirms a password. When the queue is full, callers are refused.
package final class PasswordHashing: Sendable {
    private let queue = DispatchQueue(label: "fieldseal.hashing", attributes: .concurrent)
    private let gate: AdmissionGate<String>
    private let kek: KeyEncryptionKey
    private let derivation: PasswordVerifier.Derivation

    private static let running = min(2, max(1, ProcessInfo.processInfo.activeProcessorCount / 2))
    private static let waiting = 32
    private static let waitingPerNetwork = 4
    /// How many places of the queue are kept for people who are signed in. A flood of sign-ins can't fill these places.
    private static let waitingKept = 16

    /// For whom a password is hashed.
    package enum Asker: Sendable {
        /// A caller from this network.
        case network(String)
        /// A signed-in person, by id.
        case person(UUID)

        var key: String {
            switch self {
            case .network(let network): network
            case .person(let id): "person:\(id.text)"
            }
        }

        var isSignedIn: Bool { if case .person = self { true } else { false } }
    }

    init(_ kek: KeyEncryptionKey, _ derivation: PasswordVerifier.Derivation) {
        self.kek = kek
        self.derivation = derivation
        gate = AdmissionGate(
            .init(
                running: Self.running, runningPerKey: 1, waiting: Self.waiting, waitingPerKey: Self.waitingPerNetwork,
                waitingKept: Self.waitingKept))
    }

    /// A salt for a new password. The salt also says which derivation to use.
    ///
    /// - Throws: ``FieldsealError`` if libcrypto lacks the algorithm in the settings.
    package func newSalt() throws -> [UInt8] {
        guard derivation != .scrypt || CryptoLibrary.hasScrypt else {
            throw FieldsealError(
                .invalidArgument,
                "No provider of libcrypto has scrypt, as in FIPS mode. Set passwords.derivation to pbkdf2 in the settings of every server."
            )
        }
        return try PasswordVerifier.newSalt(derivation)
    }

    /// The result of scrypt or PBKDF2 for a password (``PasswordVerifier``). ``verifier(of:salt:under:)`` converts it to the stored
    /// form.
    ///
    /// - Throws: 429 when too many callers wait; 403 if the salt is for scrypt and libcrypto lacks it.
    package func derive(_ password: String, salt: [UInt8], for asker: Asker) async throws -> [UInt8] {
        guard PasswordVerifier.derivation(of: salt) != .scrypt || CryptoLibrary.hasScrypt else {
            throw FieldsealError(
                .accessDenied,
                "This server can't check the password: it was set before FIPS mode was switched on. Ask an administrator to reset it."
            )
        }
        return try await compute(for: asker) { try PasswordVerifier.make(of: password, salt: salt) }
    }

    /// The stored form of a password: a tag of the key-encryption key over the result of scrypt or PBKDF2. So a copy of the
    /// database alone does not allow guesses.
    package static func verifier(of derived: [UInt8], salt: [UInt8], under kek: KeyEncryptionKey) throws -> [UInt8] {
        try kek.tag(label: tagLabel, over: [salt, derived])
    }

    package static let tagLabel = "console_password"

    /// How a password matches the stored form.
    package enum Match: Sendable {
        case none, current
        /// The password matches an earlier form. The caller has to store the current form.
        case outdated
    }

    /// Compares a password with the stored form. An earlier version of the program stored the result of scrypt, and a rotation of
    /// the key-encryption key adds a layer for each earlier key.
    ///
    /// - Parameters:
    ///   - derived: The result of ``derive(_:salt:for:)``.
    ///   - layers: The subkeys of earlier key-encryption keys whose layers the stored form may have, the oldest first.
    package func check(
        _ derived: [UInt8], stored: [UInt8], salt: [UInt8], layers: [SecretBytes]
    ) throws -> Match {
        if constantTimeEqual(try Self.verifier(of: derived, salt: salt, under: kek), stored) { return .current }
        if constantTimeEqual(derived, stored) { return .outdated }
        for member in kek.each {
            // A verifier that was stored after a rotation lacks the layers of earlier keys. So each suffix of the layers is
            // tried.
            for first in 0...layers.count {
                let inner = try layers[first...].reduce(derived) { try KeyEncryptionKey.tag(under: $1, over: [salt, $0]) }
                let verifier = try Self.verifier(of: inner, salt: salt, under: member)
                if constantTimeEqual(verifier, stored) { return .outdated }
            }
        }
        return .none
    }

    /// Runs `work` as soon as the limits for all callers together and for this one allow it.
    package func compute<Result: Sendable>(for asker: Asker, _ work: @escaping @Sendable () throws -> Result) async throws
        -> Result
    {
        do {
            return try await gate.run(asker.key, isKept: asker.isSignedIn) {
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
