import Model
import PostgresClient
import Tenancy

extension Doctor {
    /// How long a statement waits for a lock of another transaction. Many statements may wait for the same lock.
    package static let lockLimit = Duration.seconds(3)

    /// A transaction that has held locks for this long is reported.
    private static let longHeld = Duration.seconds(10)
    /// How long a session has waited for a lock when the session that it waits for is reported.
    private static let longWaited = Duration.seconds(1)

    /// The finding that a part of the examination waited too long for a lock. It names the process that holds the lock.
    func heldUp(_ what: String, of subject: String, by holder: LockHolder?) -> Finding {
        Finding(
            .error, "not-checked", subject,
            "\(what) could not be checked: for \(Self.lockLimit.components.seconds) seconds, "
                + (holder?.words ?? "some transaction held a lock on it"),
            advice: holder.map { "\($0.ending); then run fieldseal doctor again" } ?? "run fieldseal doctor again")
    }

    /// Reports open and prepared transactions that have held locks for a long time, and sessions for which another session waits now.
    /// E-mail, key changes, moves, migrations and commands may wait for such a transaction.
    func longHeldLocks(on connection: isolated PostgresConnection) throws -> [Finding] {
        let held = try LockHolder.list(for: Self.longHeld, limit: 20, on: connection)
        // A session that only reads holds up a statement that drops or alters its table. Prepared transactions are reported below.
        let waitedFor = try LockHolder.blocking(.all(since: Self.longWaited), limit: 20, on: connection)
            .filter { holder in holder.process != 0 && !held.contains { $0.process == holder.process } }
        let sessions = (held + waitedFor).map { holder in
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

    /// Reports sessions with a snapshot from before the last key change. Sweeps keep the tables of the old key while such a session can
    /// still read them.
    func heldSnapshots(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Finding] {
        try connection.query(
            """
            SELECT a.pid, concat_ws(', ', a.usename, coalesce(nullif(a.application_name, ''), a.backend_type), a.state),
                   coalesce(to_char(a.xact_start, '" since "YYYY-MM-DD HH24:MI:SS'), ''), e.key_version
              FROM pg_stat_activity AS a, \(organization.qualified("encryption")) AS e
             WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND age(a.backend_xmin) >= age(e.xmin)
               AND coalesce(a.xact_start < clock_timestamp() - $2 * interval '1 ms', true)
               AND EXISTS (SELECT FROM pg_class AS c WHERE c.oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace"))
                       AND c.relkind = 'r' AND substring(c.relname FROM '_cell_k([0-9]+)$')::numeric < e.key_version)
             ORDER BY a.xact_start, a.pid LIMIT 20
            """, [.text(quoteIdentifier(organization.schema)), .double(Self.longHeld / .milliseconds(1))]
        ).map { row in
            let (process, words, since): (Int, String, String) = (try row.decode(0), try row.decode(1), try row.decode(2))
            return Finding(
                .warning, "snapshot-held", organization.name,
                "process \(process) (\(words)) has had a snapshot\(since) from before key version \(try row.decode(3, as: Int.self)) was "
                    + "put in force, so the passwords under the old key stay in the database",
                advice: "let a dump or an export finish; otherwise find out who opened that transaction, and end it: SELECT "
                    + "pg_terminate_backend(\(process)). The next sweep drops the old tables")
        }
    }
}
