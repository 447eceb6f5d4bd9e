import CellCrypto
import Foundation
import Model
package import PostgresClient

/// Limits sign-in attempts. An attempt counts in up to three rows: for its account from its network, for its network, and for its
/// account from all networks.
///
/// An attempt counts as a failure from its start. Success removes it from the counts again. So simultaneous attempts, even on
/// several servers, can't exceed the limit. A network is an IPv4 address or an IPv6 /64.
package struct AttemptLimiter {
    /// The account, as far as it is known.
    package enum Account {
        case known(String)
        /// An unknown name. The unknown names of a network share a few counts. So invented names add few rows, and unknown names
        /// are locked like known names.
        case unknownName(String)
        /// An unknown id. An attempt with an unknown id is counted only for its network.
        case unknownID
    }

    let network: String
    let policy: KeyPolicy
    private let account: String?
    private let isKnown: Bool

    /// In a row's account column, `*` means all accounts of the network. In the network column, `*` means all networks of the
    /// account.
    private static let every = "*"
    /// How many counts the unknown names of one network share.
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

    /// Whether a row's last failure is within the interval. Times in the future are ignored, because SQL could write a time that
    /// locks an account for ever.
    private static func isRecent(_ lastOn: String, _ interval: String) -> String {
        "(\(lastOn) > now() - \(interval) * interval '1 second' AND \(lastOn) < now() + interval '1 minute')"
    }
    /// The largest count that is stored, so that a number that SQL wrote can't overflow. Every limit is lower.
    private static let countLimit = 1_000_000

    private var interval: PostgresParameter { .double(Double(policy.failureInterval)) }

    /// The rows in which this attempt is counted. The order of the rows is fixed, so that attempts can't deadlock.
    private var rows: [(account: String, network: String)] {
        var rows: [(String, String)] = []
        if let account { rows.append((account, network)) }
        if let account, isKnown { rows.append((account, Self.every)) }
        return rows + [(Self.every, network)]
    }

    /// Counts the attempt, unless its account or its network is locked.
    ///
    /// - Returns: How long to delay the attempt. The delay grows with the number of failures.
    /// - Throws: 429 with the seconds to wait, when a limit is reached. Then the attempt is not counted.
    package func begin(on connection: isolated PostgresConnection) throws -> Duration {
        try refuseIfLocked(on: connection)
        let counted = try connection.query(
            """
            INSERT INTO config.failed_sign_in AS f (account, address, failures, first_on, last_on)
            SELECT a, n, 1, now(), now() FROM unnest($1, $2) AS r (a, n)
            ON CONFLICT (account, address) DO UPDATE SET
                failures = CASE WHEN \(Self.isRecent("f.last_on", "$3"))
                                THEN least(greatest(f.failures, 0), \(Self.countLimit)) + 1 ELSE 1 END,
                first_on = CASE WHEN \(Self.isRecent("f.last_on", "$3")) THEN f.first_on ELSE now() END,
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
             WHERE \(Self.isRecent("f.last_on", "$3")) AND f.address <> $4
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

    /// The delay: 0.1 s after the third failure. The delay doubles with each further failure, up to 2 s.
    private static func pause(_ failures: Int) -> Duration {
        failures > 2 ? .milliseconds(min(2_000, 100 << min(failures - 3, 5))) : .zero
    }

    /// Records that the attempt succeeded. The account's failures from this network are removed.
    package func succeed(on connection: isolated PostgresConnection) throws {
        try takeBack(clearing: true, on: connection)
    }

    /// Records that the attempt failed. The counts stay, and the interval of the network's count starts now.
    package func fail(on connection: isolated PostgresConnection) throws {
        _ = try connection.query(
            "UPDATE config.failed_sign_in SET last_on = now() WHERE account = $1 AND address = $2",
            [.text(Self.every), .text(network)])
    }

    /// Removes an attempt from the counts, because the entered password or key could not be checked.
    package func withdraw(on connection: isolated PostgresConnection) throws {
        try takeBack(clearing: false, on: connection)
    }

    private func takeBack(clearing: Bool, on connection: isolated PostgresConnection) throws {
        // INSERT … ON CONFLICT locks the rows in the given order, unlike UPDATE. So attempts can't deadlock.
        _ = try connection.query(
            """
            INSERT INTO config.failed_sign_in AS f (account, address, failures, first_on, last_on)
            SELECT a, n, 0, now(), now() FROM unnest($1, $2) AS r (a, n)
            ON CONFLICT (account, address) DO UPDATE SET
                failures = CASE WHEN $3 AND f.account <> $4 AND f.address <> $4 THEN 0 ELSE greatest(1, f.failures) - 1 END
            """,
            [.texts(rows.map(\.account)), .texts(rows.map(\.network)), .bool(clearing), .text(Self.every)])
    }

    /// How many rows the table has at most. If it has more, the oldest rows are deleted.
    private static let rowLimit = 50_000

    /// Deletes counts that no limit uses any more.
    package static func sweep(_ deployment: Deployment) async throws {
        try await deployment.pool.withConnection { connection in
            _ = try connection.query(
                """
                DELETE FROM config.failed_sign_in
                 WHERE failures = 0 OR NOT \(isRecent("last_on", "$1"))
                    OR last_on < (SELECT last_on FROM config.failed_sign_in ORDER BY last_on DESC OFFSET $2 LIMIT 1)
                """, [.double(Double(deployment.policy.failureInterval)), .int64(Int64(rowLimit))])
        }
    }
}
