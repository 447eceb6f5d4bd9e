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
