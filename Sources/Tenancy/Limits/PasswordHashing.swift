import CellCrypto
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

    private static let running = min(2, max(1, ProcessInfo.processInfo.activeProcessorCount / 2))
    private static let waiting = 32
    private static let waitingPerNetwork = 4

    init(_ kek: KeyEncryptionKey) {
        self.kek = kek
        gate = AdmissionGate(
            .init(running: Self.running, runningPerKey: 1, waiting: Self.waiting, waitingPerKey: Self.waitingPerNetwork))
    }

    /// What is kept of a password: a tag of the key-encryption key over what scrypt makes of it (``PasswordVerifier``), so that a
    /// copy of the database alone does not show whether a guess is right.
    ///
    /// - Throws: 429 when too many wait already; nothing was computed then.
    package func verifier(of password: String, salt: [UInt8], for network: String) async throws -> [UInt8] {
        let kek = kek
        return try await compute(for: network) { try Self.keyed(PasswordVerifier.make(of: password, salt: salt), salt, kek) }
    }

    /// Whether the password that a verifier was computed of is the one that is stored, and whether what is stored of it is weak: an
    /// earlier version stored what scrypt makes of it, without the key-encryption key.
    package func check(_ verifier: [UInt8], stored: [UInt8], salt: [UInt8]) throws -> (isRight: Bool, isWeak: Bool) {
        if constantTimeEqual(verifier, stored) { return (true, false) }
        let isWeak = constantTimeEqual(verifier, try Self.keyed(stored, salt, kek))
        return (isWeak, isWeak)
    }

    private static func keyed(_ derived: [UInt8], _ salt: [UInt8], _ kek: KeyEncryptionKey) throws -> [UInt8] {
        try kek.tag(label: "console_password", over: [salt, derived])
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
