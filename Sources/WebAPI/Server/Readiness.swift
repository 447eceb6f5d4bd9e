import Authentication
import HTTPTypes
import JSON
import PostgresClient
import Synchronization
import Tenancy

/// Checks whether requests can be served: the database responds and is migrated, and the server has the right key-encryption key.
///
/// Any client may ask, so a result is reused for a second, and one check runs at a time.
final class Readiness: Sendable {
    private struct Answered {
        let answer: APIResponse
        let on: ContinuousClock.Instant
    }

    private struct Database {
        let deployment: Deployment
        let tokens: TokenIssuer
    }

    /// The databases by name. A database of ``names`` that is missing here was not reached yet.
    private let databases: Mutex<[String: Database]>
    /// The names of the databases; nil if there is only one.
    private let names: [String]?
    /// Why a database was not added yet, by its name; nil if the service could not connect to it.
    private let absence: @Sendable (String) -> String?
    private let last = Mutex<Answered?>(nil)
    private let checks = SingleFlight<Bool, APIResponse>()
    private let isStopping = Mutex(false)
    private static let lifetime = Duration.seconds(1)

    /// How long the check of one of several databases may take. The checks of other databases must not wait longer for this check.
    private static let patience = Duration.seconds(2)
    private static let ready = "ready"
    private static let away = "the database can't be reached"

    /// - Parameters:
    ///   - names: The names of several databases, which ``add(_:_:_:)`` adds.
    ///   - absence: Why a database was not added yet, by its name; nil if the service could not connect to it.
    init(
        _ deployment: Deployment, _ tokens: TokenIssuer, among names: [String]?, absence: @escaping @Sendable (String) -> String?
    ) {
        self.absence = absence
        databases = Mutex(names == nil ? ["": Database(deployment: deployment, tokens: tokens)] : [:])
        self.names = names
    }

    /// Adds a database that was reached, if there are several.
    func add(_ name: String, _ deployment: Deployment, _ tokens: TokenIssuer) {
        guard names != nil else { return }
        databases.withLock { $0[name] = Database(deployment: deployment, tokens: tokens) }
    }

    /// Marks the server as about to stop.
    func stop() { isStopping.withLock { $0 = true } }

    func answer() async throws -> APIResponse {
        if isStopping.withLock(\.self) { return Self.notReady("the server is about to stop") }
        if let last = last.withLock({ $0 }), .now - last.on < Self.lifetime { return last.answer }
        let answer = try await checks.value(of: true) { [self] in
            let answer = await check()
            last.withLock { $0 = Answered(answer: answer, on: .now) }
            return answer
        }
        return answer ?? Self.notReady("the check is under way")
    }

    private func check() async -> APIResponse {
        let databases = databases.withLock(\.self)
        guard let names else {
            guard let only = databases.values.first else { return Self.notReady(Self.away) }
            return await Self.reason(only).map(Self.notReady) ?? APIResponse.json(["status": .string(Self.ready)])
        }
        // A server of several databases is ready if at least one of them can be served.
        let reasons = await withTaskGroup(of: (name: String, reason: String?).self) { group in
            for name in names {
                group.addTask {
                    guard let database = databases[name] else { return (name, self.absence(name) ?? Self.away) }
                    return (name, await Self.limited { await Self.reason(database) })
                }
            }
            return await group.reduce(into: [:]) { $0[$1.name] = $1.reason }
        }
        let list = names.map { JSONValue.Member($0, .string(reasons[$0] ?? Self.ready)) }
        guard reasons.count < names.count else {
            return Self.notReady(names.map { "\($0): \(reasons[$0] ?? "")" }.joined(separator: "; "))
        }
        return APIResponse.json(["status": .string(Self.ready), "databases": .object(list)])
    }

    /// The reason for which a database's organizations can't be served; nil when they can.
    private static func reason(_ database: Database) async -> String? {
        do {
            switch try await database.deployment.condition() {
            case .notMigrated: return "migrations are pending: fieldseal migrate up"
            case .readOnly: return "the database is read-only: it is a standby, or default_transaction_read_only is on"
            case .ready: break
            }
            try await database.deployment.pool.withConnection { try database.tokens.checkKeyEncryptionKey(on: $0) }
            return nil
        } catch let error as WrongKeyEncryptionKey {
            return error.description
        } catch {
            return away
        }
    }

    /// The result of a check within a time limit. A check that takes longer continues in the background.
    private static func limited(_ check: @escaping @Sendable () async -> String?) async -> String? {
        let (answers, continuation) = AsyncStream.makeStream(of: String?.self)
        Task { continuation.yield(await check()) }
        let timer = Task {
            try await Task.sleep(for: patience)
            continuation.yield("the database does not answer")
        }
        defer { timer.cancel() }
        for await answer in answers { return answer }
        return away
    }

    private static func notReady(_ why: String) -> APIResponse {
        APIResponse.json(["status": "not ready", "reason": .string(why)], status: .serviceUnavailable, headers: [.retryAfter: "2"])
    }
}
