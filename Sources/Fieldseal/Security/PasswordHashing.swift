import CellCrypto
import Dispatch
import Foundation

/// Computes what is slow on purpose, scrypt and PBKDF2, on threads of its own and without a database connection.
///
/// Half of the processors at most are busy with it, and two at most; each network has one computation at a time. Beyond a
/// bounded queue callers are refused.
final class PasswordHashing: Sendable {
    private let queue = DispatchQueue(label: "fieldseal.hashing", attributes: .concurrent)
    private let gate: AdmissionGate<String>

    private static let running = min(2, max(1, ProcessInfo.processInfo.activeProcessorCount / 2))
    private static let waiting = 32
    private static let waitingPerNetwork = 4

    init() {
        gate = AdmissionGate(
            .init(running: Self.running, runningPerKey: 1, waiting: Self.waiting, waitingPerKey: Self.waitingPerNetwork))
    }

    /// What is kept of a password (``PasswordVerifier``).
    ///
    /// - Throws: 429 when too many wait already; nothing was computed then.
    func verifier(of password: String, salt: [UInt8], for network: String) async throws -> [UInt8] {
        try await compute(for: network) { try PasswordVerifier.make(of: password, salt: salt) }
    }

    /// Runs `work` when it is its turn.
    func compute<Result: Sendable>(for network: String, _ work: @escaping @Sendable () throws -> Result) async throws -> Result {
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

    static let busy = FieldsealError(
        .requestQuotaExceeded, "Too many sign-ins are under way. Wait, then try again.", retryAfter: 2)
}
