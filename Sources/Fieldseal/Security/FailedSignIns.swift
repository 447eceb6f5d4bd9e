import PostgresClient

/// Counts failures per account and address together, over all servers and restarts, so that nobody can lock another out
/// from elsewhere.
struct FailedSignIns {
    let account: String
    let address: String
    let policy: KeyPolicy

    /// - Throws: 429 with the seconds to wait, once the limit is reached.
    func check(on connection: isolated PostgresConnection) throws {
        let rows = try connection.query(
            """
            SELECT ceil(extract(epoch FROM last_on + $3 * interval '1 second' - now()))::integer
              FROM config.failed_sign_in
             WHERE account = $1 AND address = $2 AND failures >= $4 AND last_on > now() - $3 * interval '1 second'
            """,
            [.text(account), .text(address), .double(Double(policy.failureInterval)), .int32(Int32(policy.failureLimit))]
        )
        guard let row = rows.first else { return }
        throw FieldsealError(
            .requestQuotaExceeded,
            "Too many failed attempts from this address. Wait, then try again.",
            retryAfter: max(1, try row.decode(0))
        )
    }

    /// Waits the longer the more failures there were: 0.1 s after the third, doubled with each, 2 s at most.
    func slowDown(_ pool: ConnectionPool) async throws {
        let failures: Int = try await pool.withConnection { connection in
            try connection.query(
                "SELECT failures FROM config.failed_sign_in WHERE account = $1 AND address = $2 AND last_on > now() - $3 * interval '1 second'",
                [.text(account), .text(address), .double(Double(policy.failureInterval))]
            ).first?.decode(0) ?? 0
        }
        guard failures > 2, failures < policy.failureLimit else { return }
        try await Task.sleep(for: .milliseconds(min(2_000, 100 << (failures - 3))))
    }

    /// Lets one attempt at a time be made on this account from this address, so that many at once are not more than their number.
    ///
    /// - Throws: 429 when another is under way.
    func begin(on connection: isolated PostgresConnection) throws {
        let isFirst: Bool = try connection.query(
            "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", [.text("\(account) \(address)")])[0]
            .decode(0)
        guard isFirst else {
            throw FieldsealError(
                .requestQuotaExceeded, "Another attempt for this name is under way from this address. Wait, then try again.",
                retryAfter: 1)
        }
    }

    func end(on connection: isolated PostgresConnection) throws {
        _ = try connection.query("SELECT pg_advisory_unlock(hashtextextended($1, 0))", [.text("\(account) \(address)")])
    }

    func count(on connection: isolated PostgresConnection) throws {
        _ = try connection.query(
            """
            INSERT INTO config.failed_sign_in AS f (account, address, failures, first_on, last_on)
            VALUES ($1, $2, 1, now(), now())
            ON CONFLICT (account, address) DO UPDATE SET
                failures = CASE WHEN f.last_on > now() - $3 * interval '1 second' THEN f.failures + 1 ELSE 1 END,
                first_on = CASE WHEN f.last_on > now() - $3 * interval '1 second' THEN f.first_on ELSE now() END,
                last_on = now()
            """,
            [.text(account), .text(address), .double(Double(policy.failureInterval))]
        )
    }

    func clear(on connection: isolated PostgresConnection) throws {
        _ = try connection.query(
            "DELETE FROM config.failed_sign_in WHERE account = $1 AND address = $2", [.text(account), .text(address)])
    }
}
