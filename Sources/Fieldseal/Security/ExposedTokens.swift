import CellCrypto
import Crypto
public import Foundation
import PostgresClient
import Synchronization

/// Access tokens that were sent without encryption: they are refused until they expire, by every server.
///
/// A token is known by the SHA-256 of the part that its signature covers. The signature itself has several valid forms: (r, n − s)
/// beside (r, s) with ECDSA, and unused bits at the end of base64url.
///
/// Other servers learn of one within ``interval``. A server forgets none before it expires, whatever the table says.
public final class ExposedTokens: Sendable {
    private struct State {
        var expiry: [[UInt8]: Date] = [:]
        var readOn: ContinuousClock.Instant?
        var isReading = false
    }

    private let deployment: Deployment
    private let state = Mutex(State())
    /// How old the list may be before it is read again.
    private static let interval = Duration.seconds(5)
    /// Seconds for which a token is refused at most, and one without an expiry of its own.
    private static let longest = 30 * 86_400.0
    private static let limit = 100_000

    init(_ deployment: Deployment) { self.deployment = deployment }

    /// Whether a token is known to have been exposed. It waits for nothing; a list that is old is read besides.
    func contains(_ token: String) -> Bool {
        let (isEmpty, mustRead) = state.withLock { state in
            let isOld = state.readOn.map { .now - $0 > Self.interval } ?? true
            let mustRead = isOld && !state.isReading
            if mustRead { state.isReading = true }
            return (state.expiry.isEmpty, mustRead)
        }
        if mustRead { Task { try? await PoolBorrower.$current.withValue(nil) { try await read() } } }
        if isEmpty { return false }
        let digest = Self.digest(of: token)
        return state.withLock { $0.expiry[digest] != nil }
    }

    private static func digest(of token: String) -> [UInt8] {
        let signed = token.utf8.lastIndex(of: UInt8(ascii: ".")).map { token.utf8[..<$0] } ?? token.utf8[...]
        return Array(SHA256.hash(data: Array(signed)))
    }

    /// Reads the list.
    func read() async throws {
        defer { state.withLock { ($0.isReading, $0.readOn) = (false, .now) } }
        let rows = try await deployment.pool.withConnection { connection in
            try connection.query(
                "SELECT token_hash, expires_on FROM config.exposed_token WHERE expires_on > now() ORDER BY expires_on DESC LIMIT $1",
                [.int64(Int64(Self.limit))]
            ).map { (try $0.decode(0, as: PostgresBytes.self).bytes, try $0.decode(1, as: Date.self)) }
        }
        state.withLock { state in
            state.expiry = state.expiry.filter { $0.value > Date() }
            for (hash, expiry) in rows { state.expiry[hash] = expiry }
        }
    }

    /// Records that a token which is valid was sent without encryption. From now on it is refused.
    public func record(_ token: String, of client: UUID, in organization: Organization, address: String?, requestID: String)
        async throws
    {
        let digest = Self.digest(of: token)
        let expiry = min(Self.expiry(of: token) ?? .distantFuture, Date().addingTimeInterval(Self.longest))
        state.withLock { $0.expiry[digest] = expiry }
        let caller = Caller(
            actor: "client:\(client.text)", clientID: client, systemUserID: nil, role: .basicUser, address: address,
            requestID: requestID)
        try await deployment.pool.withConnection { connection in
            try connection.transaction {
                let added = try connection.query(
                    "INSERT INTO config.exposed_token (token_hash, expires_on) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                    [.bytes(digest), .timestamp(expiry)])
                guard added.affectedRows == 1 else { return }
                try SecurityEvent(.tokenExposed, .refused)
                    .insert(for: organization, by: caller, under: deployment.kek, on: connection)
            }
        }
    }

    private static func expiry(of token: String) -> Date? {
        struct Expiry: Decodable { let exp: Double }
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let data = Data(base64URL: parts[1]) else { return nil }
        return (try? JSONDecoder().decode(Expiry.self, from: data)).map { Date(timeIntervalSince1970: $0.exp + 60) }
    }
}
