import Authentication
import HTTPTypes
import JSON
import PostgresClient
import Synchronization
import Tenancy

/// Whether requests can be served: the database answers and is migrated, and the key-encryption key is the right one.
///
/// Anyone may ask, so an answer is good for a second, and one check runs at a time.
final class Readiness: Sendable {
    private struct Answered {
        let answer: APIAnswer
        let on: ContinuousClock.Instant
    }

    private let deployment: Deployment
    private let tokens: TokenIssuer
    private let last = Mutex<Answered?>(nil)
    private let checks = SingleFlight<Bool, APIAnswer>()
    private let isStopping = Mutex(false)
    private static let lifetime = Duration.seconds(1)

    init(_ deployment: Deployment, _ tokens: TokenIssuer) {
        self.deployment = deployment
        self.tokens = tokens
    }

    /// From now on says that the server is about to stop.
    func stop() { isStopping.withLock { $0 = true } }

    func answer() async throws -> APIAnswer {
        if isStopping.withLock(\.self) { return Self.notReady("the server is about to stop") }
        if let last = last.withLock({ $0 }), .now - last.on < Self.lifetime { return last.answer }
        let answer = try await checks.value(of: true) { [self] in
            let answer = await check()
            last.withLock { $0 = Answered(answer: answer, on: .now) }
            return answer
        }
        return answer ?? Self.notReady("the check is under way")
    }

    private func check() async -> APIAnswer {
        do {
            switch try await deployment.condition() {
            case .notMigrated: return Self.notReady("migrations are pending: fieldseal migrate up")
            case .readOnly:
                return Self.notReady("the database is read-only: it is a standby, or default_transaction_read_only is on")
            case .ready: break
            }
            try await deployment.pool.withConnection { [tokens] in try tokens.checkKeyEncryptionKey(on: $0) }
            return APIAnswer.json(["status": "ready"])
        } catch let error as WrongKeyEncryptionKey {
            return Self.notReady(error.description)
        } catch {
            return Self.notReady("the database can't be reached")
        }
    }

    private static func notReady(_ why: String) -> APIAnswer {
        APIAnswer.json(["status": "not ready", "reason": .string(why)], status: .serviceUnavailable, headers: [.retryAfter: "2"])
    }
}
