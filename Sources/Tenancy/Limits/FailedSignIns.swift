import CellCrypto
import Foundation
import Model
package import PostgresClient

/// One attempt to sign in, and the failures before it: of its account from its network, of its network, of its account.
///
/// An attempt counts as a failure from its beginning, and is taken back when it succeeds: however many are made at the same
/// time, on however many servers, no more than the limit are answered. A network is an IPv4 address or an IPv6 /64.
package struct FailedSignIns {
    /// Who signs in, as far as it is known.
    package enum Account {
        case known(String)
        /// A name that is unknown here. It shares a count with others of its network, so that made-up names add few rows and
        /// are locked as known ones are.
        case unknownName(String)
        /// An unknown id: counted for its network alone.
        case unknownID
    }

    let network: String
    let policy: KeyPolicy
    private let account: String?
    private let isKnown: Bool

    /// Stands for every account of a network, and for every network of an account.
    private static let every = "*"
    /// Counts that the unknown names of one network share.
    private static let unknownCounts = 16

    package init(_ account: Account, from address: String, policy: KeyPolicy) {
        network = IPAddress.network(of: address)
        self.policy = policy
        switch account {
        case .known(let name): (self.account, isKnown) = (name, true)
        case .unknownName(let name):
            let number = (try? sha256(Array(name.utf8)))?.first.map { Int($0) % Self.unknownCounts } ?? 0
            (self.account, isKnown) = ("unknown:\(number)", false)
        case .unknownID: (self.account, isKnown) = (nil, false)
        }
    }

    private var interval: PostgresParameter { .double(Double(policy.failureInterval)) }

    /// The rows that this attempt counts in. Always in this order, so that attempts never wait for each other in a circle.
    private var rows: [(account: String, network: String)] {
        var rows: [(String, String)] = []
        if let account { rows.append((account, network)) }
        if let account, isKnown { rows.append((account, Self.every)) }
        return rows + [(Self.every, network)]
    }

    /// Counts the attempt, unless its account or its network is locked.
    ///
    /// - Returns: How long it has to wait before it goes on: the longer, the more failures there were.
    /// - Throws: 429 with the seconds to wait, once a limit is reached; the attempt was not counted then.
    package func begin(on connection: isolated PostgresConnection) throws -> Duration {
        try refuseIfLocked(on: connection)
        let counted = try connection.query(
            """
            INSERT INTO config.failed_sign_in AS f (account, address, failures, first_on, last_on)
            SELECT a, n, 1, now(), now() FROM unnest($1, $2) AS r (a, n)
            ON CONFLICT (account, address) DO UPDATE SET
                failures = CASE WHEN f.last_on > now() - $3 * interval '1 second' THEN f.failures + 1 ELSE 1 END,
                first_on = CASE WHEN f.last_on > now() - $3 * interval '1 second' THEN f.first_on ELSE now() END,
                last_on = now()
            RETURNING account, address, failures
            """,
            [.texts(rows.map(\.account)), .texts(rows.map(\.network)), interval])
        var wait = Duration.zero
        for row in counted {
            let (account, network): (String, String) = (try row.decode(0), try row.decode(1))
            let before = try row.decode(2, as: Int.self) - 1
            if let limit = limit(account, network), before >= limit {
                throw Self.locked(account == Self.every, policy.failureInterval)
            }
            wait = max(
                wait, account == Self.every ? .zero : Self.pause(before - (network == Self.every ? policy.accountFailures : 0)))
        }
        return wait
    }

    private func limit(_ account: String, _ network: String) -> Int? {
        if account == Self.every { return policy.networkFailureLimit }
        return network == Self.every ? nil : policy.failureLimit
    }

    private func refuseIfLocked(on connection: isolated PostgresConnection) throws {
        let locked = try connection.query(
            """
            SELECT f.account, ceil(extract(epoch FROM last_on + $3 * interval '1 second' - now()))::integer
              FROM config.failed_sign_in AS f JOIN unnest($1, $2) AS r (a, n) ON (f.account, f.address) = (r.a, r.n)
             WHERE f.last_on > now() - $3 * interval '1 second' AND f.address <> $4
               AND f.failures >= CASE f.account WHEN $4 THEN $5 ELSE $6 END
             ORDER BY 2 DESC LIMIT 1
            """,
            [
                .texts(rows.map(\.account)), .texts(rows.map(\.network)), interval, .text(Self.every),
                .int32(Int32(policy.networkFailureLimit)), .int32(Int32(policy.failureLimit)),
            ])
        guard let row = locked.first else { return }
        throw Self.locked(try row.decode(0, as: String.self) == Self.every, max(1, try row.decode(1)))
    }

    private static func locked(_ isNetwork: Bool, _ seconds: Int) -> FieldsealError {
        FieldsealError(
            .requestQuotaExceeded,
            isNetwork
                ? "Too many sign-ins from this network failed. Wait, then try again."
                : "Too many failed attempts from this address. Wait, then try again.",
            retryAfter: seconds)
    }

    /// 0.1 s after the third failure, doubled with each, 2 s at most.
    private static func pause(_ failures: Int) -> Duration {
        failures > 2 ? .milliseconds(min(2_000, 100 << min(failures - 3, 5))) : .zero
    }

    /// The attempt succeeded: its account is free of failures from this network.
    package func succeed(on connection: isolated PostgresConnection) throws {
        try takeBack(clearing: true, on: connection)
    }

    /// The attempt failed: what was counted at its beginning stays, and its interval begins now.
    package func fail(on connection: isolated PostgresConnection) throws {
        _ = try connection.query(
            "UPDATE config.failed_sign_in SET last_on = now() WHERE account = $1 AND address = $2",
            [.text(Self.every), .text(network)])
    }

    /// The attempt was never made.
    package func withdraw(on connection: isolated PostgresConnection) throws {
        try takeBack(clearing: false, on: connection)
    }

    private func takeBack(clearing: Bool, on connection: isolated PostgresConnection) throws {
        // As an insert, which takes the rows in their order.
        _ = try connection.query(
            """
            INSERT INTO config.failed_sign_in AS f (account, address, failures, first_on, last_on)
            SELECT a, n, 0, now(), now() FROM unnest($1, $2) AS r (a, n)
            ON CONFLICT (account, address) DO UPDATE SET
                failures = CASE WHEN $3 AND f.account <> $4 AND f.address <> $4 THEN 0 ELSE greatest(0, f.failures - 1) END
            """,
            [.texts(rows.map(\.account)), .texts(rows.map(\.network)), .bool(clearing), .text(Self.every)])
    }

    /// Rows that the table keeps at most: past it, the oldest go.
    private static let rowLimit = 50_000

    /// Deletes counts that no limit looks at any more.
    package static func sweep(_ deployment: Deployment) async throws {
        try await deployment.pool.withConnection { connection in
            _ = try connection.query(
                """
                DELETE FROM config.failed_sign_in
                 WHERE failures = 0 OR last_on < now() - $1 * interval '1 second'
                    OR last_on < (SELECT last_on FROM config.failed_sign_in ORDER BY last_on DESC OFFSET $2 LIMIT 1)
                """, [.double(Double(deployment.policy.failureInterval)), .int64(Int64(rowLimit))])
        }
    }
}
