import PostgresClient

extension Doctor {
    /// How long a statement waits for a lock of another transaction. Many statements may wait for the same lock.
    package static let lockLimit = Duration.seconds(3)

    /// A transaction that has held locks for this long is reported.
    private static let longHeld = Duration.seconds(10)

    /// The finding that a part of the examination waited too long for a lock. The finding names the process that holds the lock.
    func heldUp(_ what: String, of subject: String) async -> Finding {
        let holder = try? await connect().run { try LockHolder.list(.againstReaders, for: .zero, limit: 1, on: $0) }.first
        return Finding(
            .error, "not-checked", subject,
            "\(what) could not be checked: for \(Self.lockLimit.components.seconds) seconds, "
                + (holder?.words ?? "some transaction held a lock on it"),
            advice: holder.map { "\($0.ending); then run fieldseal doctor again" } ?? "run fieldseal doctor again")
    }

    /// Reports open and prepared transactions that have held locks for a long time. E-mail, key changes, moves, migrations and
    /// commands may wait for such a transaction.
    func longHeldLocks(on connection: isolated PostgresConnection) throws -> [Finding] {
        let sessions = try LockHolder.list(.againstWriters, for: Self.longHeld, limit: 20, on: connection).map { holder in
            Finding(
                .warning, "lock-held", "\(holder.words), so the service or its commands may wait",
                advice: "let a key change, a move, an import or a migration finish; otherwise \(holder.ending)")
        }
        let prepared = try connection.query(
            """
            SELECT gid, owner::text, to_char(prepared, 'YYYY-MM-DD HH24:MI:SS')
              FROM pg_prepared_xacts
             WHERE database = current_database() AND prepared < clock_timestamp() - $1 * interval '1 ms' ORDER BY prepared LIMIT 20
            """, [.double(Self.longHeld / .milliseconds(1))]
        ).map { row in
            let (name, owner, since): (String, String, String) = (try row.decode(0), try row.decode(1), try row.decode(2))
            return Finding(
                .warning, "transaction-prepared",
                "the prepared transaction \(name) of the login \(owner) has held locks since \(since), and keeps them without a "
                    + "session",
                advice:
                    "Fieldseal prepares no transactions: find out who did, then ROLLBACK PREPARED '\(name.replacing("'", with: "''"))' "
                    + "as that login or as a superuser")
        }
        return sessions + prepared
    }
}
