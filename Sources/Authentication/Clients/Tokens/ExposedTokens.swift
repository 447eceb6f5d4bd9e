import CellCrypto
import Crypto
package import Foundation
import JSON
import PostgresClient
import Synchronization
package import Tenancy

/// Access tokens that were revoked or sent without encryption. Every server refuses these tokens until they expire.
///
/// A token is identified by the SHA-256 of the part that its signature covers. The signature itself is not hashed, because it has
/// several valid forms. With ECDSA, (r, n − s) is as valid as (r, s), and base64url has unused bits at its end.
///
/// Other servers learn of a token within ``interval``. A server remembers the token until it expires, even if its row is lost.
package final class ExposedTokens: Sendable {
    /// The reason for which a token is refused before it expires.
    enum Reason {
        case exposed, revoked
    }

    private struct Entry {
        let expiresOn: Date
        let reason: Reason
    }

    private struct State {
        var tokens: [[UInt8]: Entry] = [:]
        var readOn: ContinuousClock.Instant?
        /// The task that reads the list. Requests wait for this task.
        var reading: Task<Void, any Error>?
        /// Whether the table has more rows than ``limit``. If true, each token is looked up in the table.
        var isCut = false
    }

    private let deployment: Deployment
    private let state = Mutex(State())
    /// How old the list may be before it is read again.
    private static let interval = Duration.seconds(5)
    /// The longest time for which a token is refused, in seconds. A token without an expiry is refused for this time.
    private static let longest = 30 * 86_400.0
    private static let limit = 100_000

    init(_ deployment: Deployment) { self.deployment = deployment }

    /// The reason for which a token is refused. If the list is older than ``interval``, the check first reads it again, because
    /// another server may have recorded the token meanwhile.
    func reason(_ token: String) async throws -> Reason? {
        let reading = state.withLock { state in
            let isOld = state.readOn.map { .now - $0 > Self.interval } ?? true
            if isOld, state.reading == nil {
                state.reading = Task { [self] in try await PoolBorrower.$current.withValue(nil) { try await read() } }
            }
            return isOld ? state.reading : nil
        }
        try await reading?.value
        let (isEmpty, isCut) = state.withLock { ($0.tokens.isEmpty, $0.isCut) }
        if isEmpty { return nil }
        let digest = Self.digest(of: token)
        let known = state.withLock { $0.tokens[digest]?.reason }
        return known == nil && isCut ? try await lookUp(digest) : known
    }

    /// Looks a token up in the table.
    private func lookUp(_ digest: [UInt8]) async throws -> Reason? {
        try await deployment.pool.withConnection { connection in
            try connection.query(
                "SELECT is_revoked FROM config.exposed_token WHERE token_hash = $1 AND expires_on > now()", [.bytes(digest)]
            ).first.map { try $0.decode(0, as: Bool.self) ? .revoked : .exposed }
        }
    }

    private static func digest(of token: String) -> [UInt8] {
        let signed = token.utf8.lastIndex(of: UInt8(ascii: ".")).map { token.utf8[..<$0] } ?? token.utf8[...]
        return Array(SHA256.hash(data: Array(signed)))
    }

    /// Reads the list.
    func read() async throws {
        let began = ContinuousClock.now
        defer { state.withLock { $0.reading = nil } }
        let rows = try await deployment.pool.withConnection { connection in
            try connection.query(
                """
                SELECT token_hash, expires_on, is_revoked FROM config.exposed_token WHERE expires_on > now()
                 ORDER BY expires_on DESC LIMIT $1
                """, [.int64(Int64(Self.limit))]
            ).map { row in
                let entry = Entry(expiresOn: try row.decode(1), reason: try row.decode(2, as: Bool.self) ? .revoked : .exposed)
                return (try row.decode(0, as: PostgresBytes.self).bytes, entry)
            }
        }
        state.withLock { state in
            state.readOn = began
            state.isCut = rows.count >= Self.limit
            state.tokens = state.tokens.filter { $0.value.expiresOn > Date() }
            for (hash, entry) in rows { state.tokens[hash] = entry }
        }
    }

    /// Records that a valid token was sent without encryption. The token is refused from now on.
    package func record(_ token: String, of client: UUID, in organization: Organization, address: String?, requestID: String)
        async throws
    {
        try await refuse(token, .exposed, of: client, in: organization, address: address, requestID: requestID)
    }

    /// Records that a client revoked its own token. The token is refused from now on.
    package func revoke(_ token: String, of client: UUID, in organization: Organization, address: String?, requestID: String)
        async throws
    {
        try await refuse(token, .revoked, of: client, in: organization, address: address, requestID: requestID)
    }

    private func refuse(
        _ token: String, _ reason: Reason, of client: UUID, in organization: Organization, address: String?, requestID: String
    ) async throws {
        let digest = Self.digest(of: token)
        let expiry = min(Self.expiry(of: token) ?? .distantFuture, Date().addingTimeInterval(Self.longest))
        state.withLock { $0.tokens[digest] = Entry(expiresOn: expiry, reason: reason) }
        let caller = Caller(
            actor: "client:\(client.text)", clientID: client, systemUserID: nil, role: .basicUser, address: address,
            requestID: requestID)
        try await deployment.pool.withConnection { connection in
            try connection.transaction {
                let isNew: Bool = try connection.query(
                    "SELECT config.refuse_token($1, $2, $3)",
                    [.bytes(digest), .timestamp(expiry), .bool(reason == .revoked)])[0].decode(0)
                guard isNew else { return }
                try SecurityEvent(reason == .revoked ? .tokenRevoked : .tokenExposed, reason == .revoked ? .succeeded : .refused)
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
