package import CellCrypto
package import Foundation
import JSON
import Model
package import PostgresClient

/// Limits sign-in attempts. An attempt counts in up to three rows: for its account from its network, for its network, and for its
/// account from all networks.
///
/// Names of people and ids of clients are counted alike, whether they exist or not, so limits don't tell which of them exist.
/// An attempt counts as a failure from its start. Success removes it from the counts again. So simultaneous attempts, even on
/// several servers, can't exceed the limit. A network is an IPv4 address or an IPv6 /64.
package struct AttemptLimiter {
    /// What an attempt is counted for.
    package enum Account {
        /// The id of a client, a key that is activated, or the name of a person: ``name(_:in:under:)``.
        case account(String)
        /// The one-time passwords of a signed-in person, from a network.
        case codes(of: UUID)
        /// The one-time passwords of a person from all networks, in sign-ins and of the signed-in person. After too many wrong
        /// ones, none is accepted. Only a caller who has the person's password or session can reach that.
        case codesFromEverywhere(of: UUID)
    }

    /// A row in which attempts are counted.
    private struct Count {
        let account: String
        let network: String
        /// How many failures lock; nil if the row never locks.
        let limit: Int?
        /// After how many failures attempts are delayed; nil if the row never delays.
        let pauseAfter: Int?
    }

    let network: String
    let policy: KeyPolicy
    /// The rows in which this attempt is counted. The order of the rows is fixed, so that attempts can't deadlock.
    private let rows: [Count]

    /// In a row's account column, `*` means all accounts of the network. In the network column, `*` means all networks of the
    /// account.
    private static let every = "*"

    package init(_ account: Account, from address: String, policy: KeyPolicy) {
        let network = IPAddress.network(of: address)
        self.network = network
        self.policy = policy
        let ofNetwork = Count(account: Self.every, network: network, limit: policy.networkFailureLimit, pauseAfter: nil)
        func fromNetwork(_ account: String) -> Count {
            Count(account: account, network: network, limit: policy.failureLimit, pauseAfter: 0)
        }
        switch account {
        case .account(let account):
            let fromEverywhere = Count(account: account, network: Self.every, limit: nil, pauseAfter: policy.accountFailures)
            rows = [fromNetwork(account), fromEverywhere, ofNetwork]
        case .codes(let person): rows = [fromNetwork("code:\(person.text)"), ofNetwork]
        case .codesFromEverywhere(let person):
            rows = [
                Count(account: "code:\(person.text)", network: Self.every, limit: policy.codeFailureLimit, pauseAfter: nil)
            ]
        }
    }

    /// The account that a name of a person is counted as. The name is hashed under the key-encryption key, because it may not exist:
    /// then it may be a password that was typed into the wrong field.
    package static func name(_ name: String, in organization: UUID, under kek: KeyEncryptionKey) throws -> Account {
        let tag = try kek.tag(label: "failed_sign_in", over: [organization.bytes, Array(folded(name).utf8)])
        return .account("user:\(organization.text):\(hexadecimal(tag.prefix(16)))")
    }

    /// A name in the form in which it is counted: in lower case, and without marks such as the dot of İ.
    ///
    /// PostgreSQL finds a person by `lower(name)`, whose result depends on the locale. Names that PostgreSQL takes for one person
    /// must be counted as one, or each spelling would have attempts of its own. It does no harm that other names are counted
    /// together too.
    static func folded(_ name: String) -> String {
        var scalars = String.UnicodeScalarView()
        for scalar in name.decomposedStringWithCompatibilityMapping.unicodeScalars {
            scalars.append(
                contentsOf: scalar.properties.lowercaseMapping.decomposedStringWithCompatibilityMapping.unicodeScalars.filter {
                    $0.properties.generalCategory != .nonspacingMark
                })
        }
        return String(scalars).replacing("ı", with: "i").replacing("ς", with: "σ")
    }

    /// Whether a row's last failure is within the interval. Times in the future are ignored, because SQL could write a time that
    /// locks an account for ever.
    private static func isRecent(_ lastOn: String, _ interval: String) -> String {
        "(\(lastOn) > now() - \(interval) * interval '1 second' AND \(lastOn) < now() + interval '1 minute')"
    }
    /// The largest count that is stored, so that a number that SQL wrote can't overflow. Every limit is lower.
    private static let countLimit = 1_000_000

    private var interval: PostgresParameter { .double(Double(policy.failureInterval)) }

    /// Counts the attempt, unless its account or its network is locked.
    ///
    /// - Returns: How long to delay the attempt. The delay grows with the number of failures.
    /// - Throws: 429 with the seconds to wait, when a limit is reached. Then the attempt is not counted.
    package func begin(on connection: isolated PostgresConnection) throws -> Duration {
        switch try count(on: connection) {
        case .allowed(let wait): return wait
        case .locked(let isNetwork, let seconds): throw Self.locked(isNetwork, seconds)
        }
    }

    /// Counts the attempt, and says whether it may be made.
    package func mayTry(on connection: isolated PostgresConnection) throws -> Bool {
        if case .allowed = try count(on: connection) { true } else { false }
    }

    private enum Verdict {
        /// The attempt may be made, after this delay.
        case allowed(Duration)
        /// The account or the whole network is locked for some seconds.
        case locked(isNetwork: Bool, seconds: Int)
    }

    private func count(on connection: isolated PostgresConnection) throws -> Verdict {
        if let lock = try lock(on: connection) { return lock }
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
            guard let count = rows.first(where: { $0.account == account && $0.network == network }) else { continue }
            if let limit = count.limit, before >= limit {
                return .locked(isNetwork: account == Self.every, seconds: policy.failureInterval)
            }
            if let first = count.pauseAfter { wait = max(wait, Self.pause(before - first)) }
        }
        return .allowed(wait)
    }

    /// The longest lock on the account or the network; nil if there is none.
    private func lock(on connection: isolated PostgresConnection) throws -> Verdict? {
        let locked = try connection.query(
            """
            SELECT f.account, ceil(extract(epoch FROM last_on + $3 * interval '1 second' - now()))::integer
              FROM config.failed_sign_in AS f JOIN unnest($1, $2, $4) AS r (a, n, l) ON (f.account, f.address) = (r.a, r.n)
             WHERE \(Self.isRecent("f.last_on", "$3")) AND f.failures >= nullif(r.l, '')::integer
             ORDER BY 2 DESC LIMIT 1
            """,
            [
                .texts(rows.map(\.account)), .texts(rows.map(\.network)), interval,
                .texts(rows.map { $0.limit.map(String.init) ?? "" }),
            ])
        guard let row = locked.first else { return nil }
        return .locked(isNetwork: try row.decode(0, as: String.self) == Self.every, seconds: max(1, try row.decode(1)))
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

    /// How many rows the table has at most. If it has more, the oldest rows are deleted. Rows of one-time passwords stay, because
    /// strangers can't add any, and an attacker with a password could otherwise remove a person's count by failures of other names.
    private static let rowLimit = 50_000

    /// Deletes counts that no limit uses any more.
    package static func sweep(_ deployment: Deployment) async throws {
        try await deployment.pool.withConnection { connection in
            _ = try connection.query(
                """
                DELETE FROM config.failed_sign_in
                 WHERE failures = 0 OR NOT \(isRecent("last_on", "$1"))
                    OR account NOT LIKE 'code:%' AND last_on < (
                        SELECT last_on FROM config.failed_sign_in WHERE failures > 0 ORDER BY last_on DESC OFFSET $2 LIMIT 1)
                """, [.double(Double(deployment.policy.failureInterval)), .int64(Int64(rowLimit))])
        }
    }
}
