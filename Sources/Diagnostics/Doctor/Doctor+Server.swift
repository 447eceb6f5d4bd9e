import Foundation
import Migrations
import Organizations
import PostgresClient
import Tenancy

extension Doctor {
    /// Checks the service's own rights, and how it connects to the database.
    func service(on connection: isolated PostgresConnection) throws -> [Finding] {
        let row = try connection.query(
            """
            SELECT r.rolsuper, r.rolname, pg_has_role(r.rolname, 'fieldseal_owner', 'MEMBER'),
                   s.client_addr IS NOT NULL AND NOT coalesce(t.ssl, false)
              FROM pg_roles AS r, pg_stat_activity AS s LEFT JOIN pg_stat_ssl AS t USING (pid)
             WHERE r.rolname = current_user AND s.pid = pg_backend_pid()
            """)[0]
        var findings: [Finding] = []
        let role: String = try row.decode(1)
        if try row.decode(0, as: Bool.self) {
            findings.append(
                Finding(
                    .error, "service-is-superuser", "the service connects as \(role), a superuser, whom no guard stops",
                    advice: "let it connect as fieldseal_service"))
        } else if try row.decode(2, as: Bool.self) {
            findings.append(
                Finding(
                    .error, "service-is-owner", "\(role) may act as fieldseal_owner, and remove guards",
                    // If the connected role has another name, it is probably the role for migrations, which needs the right.
                    advice: role == "fieldseal_service"
                        ? "REVOKE fieldseal_owner FROM \(role)"
                        : "set database to the service's role, fieldseal_service, and leave \(role) to migrationDatabase"))
        }
        if try row.decode(3, as: Bool.self) {
            findings.append(
                Finding(
                    .warning, "database-without-tls", "the service connects to the database over a network without TLS",
                    advice: "add sslmode=verify-full to the connection string"))
        }
        return try findings + passwordExpiry(on: connection)
    }

    /// Reports if the connected role's password has expired or expires within 30 days. With an expired password the role can't
    /// connect.
    func passwordExpiry(on connection: isolated PostgresConnection) throws -> [Finding] {
        let rows = try connection.query(
            """
            SELECT rolname, to_char(rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), rolvaliduntil < now() + interval '7 days'
              FROM pg_roles WHERE rolname = current_user AND rolvaliduntil < now() + interval '30 days' AND isfinite(rolvaliduntil)
            """)
        return try rows.map { row in
            let role: String = try row.decode(0)
            return Finding(
                try row.decode(2) ? .error : .warning, "role-password-expires",
                "the password of the role \(role) is valid until \(try row.decode(1, as: String.self)). After that, PostgreSQL "
                    + "refuses the role",
                advice: "give the role another password and another date: ALTER ROLE \(role) VALID UNTIL …")
        }
    }

    /// Reports organizations that running servers refuse. After a restore, a server may remember a newer attested state than the
    /// database has.
    func refusals(on connection: isolated PostgresConnection) throws -> [Finding] {
        try ServerPresence.refusals(on: connection).map { refusal in
            Finding(
                .error, "refused-by-server", refusal.organization,
                "the server \(refusal.host) refuses the organization: \(refusal.reason)",
                advice:
                    "find out who changed the database before you restart the server. If the database was restored on purpose, "
                    + "compare it with a copy of the events, then restart the server")
        }
    }

    /// Reports connection strings that let another machine impersonate the database.
    func connectionStrings() throws -> [Finding] {
        var seen: Set<String> = []
        return try [("database", deployment.conninfo), ("migrationDatabase", administrativeConninfo)].compactMap { name, conninfo in
            guard seen.insert(conninfo).inserted else { return nil }
            let values = try Dictionary(
                ConnectionParameters.parse(conninfo).map { ($0.keyword, $0.value) }, uniquingKeysWith: { $1 })
            let environment = ProcessInfo.processInfo.environment
            let hosts = (values["host"] ?? values["hostaddr"] ?? environment["PGHOST"] ?? "").split(separator: ",")
            let isRemote = hosts.contains { !$0.hasPrefix("/") && !["localhost", "127.0.0.1", "::1"].contains($0) }
            let mode = values["sslmode"] ?? environment["PGSSLMODE"] ?? "prefer"
            guard isRemote, mode != "verify-full" else { return nil }
            return Finding(
                .warning, "database-not-verified",
                "\(name) is reached over a network with sslmode=\(mode), which does not verify the server: a machine on the way can "
                    + "impersonate the database, read everything and change it",
                advice: "add sslmode=verify-full and sslrootcert to the connection string")
        }
    }

    /// Checks the database's encoding and locale, and that the owner has the rights that the checks need.
    func database(on connection: isolated PostgresConnection) throws -> [Finding] {
        let encoding: String = try connection.query("SELECT current_setting('server_encoding')")[0].decode(0)
        guard encoding == "UTF8" else {
            return [
                Finding(
                    .error, "database-not-utf8", "the database's encoding is \(encoding), and the product needs UTF8",
                    advice: "dump it, make a database with ENCODING 'UTF8', and restore it there")
            ]
        }
        let row = try connection.query(
            """
            SELECT lower(U&'\\00C4\\0416') = U&'\\00E4\\0436',
                   EXISTS (SELECT FROM pg_roles WHERE rolname = 'fieldseal_owner')
                       AND NOT pg_has_role('fieldseal_owner', 'pg_read_all_stats', 'MEMBER')
            """)[0]
        var findings: [Finding] = []
        if try !row.decode(0, as: Bool.self) {
            findings.append(
                Finding(
                    .warning, "locale-without-case",
                    "the database's locale has no upper and lower case beyond ASCII: searches for names such as Ärger depend on case",
                    advice: "dump it, make a database with LC_CTYPE 'C.UTF-8' or a language's locale, and restore it there"))
        }
        if try row.decode(1, as: Bool.self) {
            findings.append(
                Finding(
                    .warning, "owner-sees-no-snapshots",
                    "fieldseal_owner does not see other sessions' snapshots, and may drop an old generation that a snapshot needs",
                    advice: "GRANT pg_read_all_stats TO fieldseal_owner"))
        }
        return findings
    }

    func migrations(of organization: String?) async throws -> [Finding] {
        try await MigrationRunner(conninfo: administrativeConninfo).status(organization: organization).flatMap {
            status -> [Finding] in
            if let problem = status.problem {
                return [
                    Finding(
                        .error, "migration-problem", "\(status.target)", status.problemWords ?? "",
                        advice: problem.advice)
                ]
            }
            guard !status.pending.isEmpty else { return [] }
            return [
                Finding(
                    .error, "migrations-pending", "\(status.target)", "pending: \(status.pending.joined(separator: ", "))",
                    advice: "fieldseal migrate up")
            ]
        }
    }

    /// Checks PostgreSQL's settings and the event triggers.
    func server(on connection: isolated PostgresConnection) throws -> [Finding] {
        let row = try connection.query(
            """
            SELECT current_setting('fsync') = 'off' OR current_setting('full_page_writes') = 'off',
                   current_setting('log_statement') IN ('mod', 'all') AND current_setting('log_parameter_max_length') <> '0'
                       AND to_regprocedure('cell.derive_key(text,bytea,integer)') IS NOT NULL,
                   (SELECT coalesce(string_agg(w, ', '), '') FROM unnest(ARRAY['fieldseal_refuse_index', 'fieldseal_refuse_weakening',
                       'fieldseal_refuse_drop', 'fieldseal_refuse_owner', 'fieldseal_refuse_removal']) AS w
                     WHERE NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = w AND evtenabled IN ('O', 'A')))
            """)[0]
        var findings: [Finding] = []
        if try row.decode(0, as: Bool.self) {
            findings.append(
                Finding(
                    .error, "not-durable", "fsync or full_page_writes is off: a power failure can lose cells",
                    advice: "ALTER SYSTEM RESET fsync; ALTER SYSTEM RESET full_page_writes; and reload"))
        }
        if try row.decode(1, as: Bool.self) {
            findings.append(
                Finding(
                    .warning, "key-may-be-logged",
                    "statements are logged with their parameters, and the recovery functions take keys as parameters",
                    advice: "drop the functions when no recovery is under way, or SET log_parameter_max_length = 0"))
        }
        let missing: String = try row.decode(2)
        if !missing.isEmpty {
            findings.append(
                Finding(
                    .warning, "no-event-trigger",
                    "the database would accept an index over cells, and the removal of guards: \(missing) is missing or disabled",
                    advice: "apply migrations/bootstrap.sql as a superuser: fieldseal migrate bootstrap"))
        }
        return findings
    }

    /// Reports replicas that lag by more write-ahead log than is allowed, and replication slots without a reader.
    ///
    /// The lag is measured in bytes, because a replica with stopped replay reports no time.
    func replicas(on connection: isolated PostgresConnection) throws -> [Finding] {
        let lagging = try connection.query(
            """
            WITH written AS (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS lsn),
                 replica AS (
                     SELECT coalesce(nullif(application_name, ''), usename) AS name, lsn - replay_lsn AS behind FROM pg_stat_replication, written
                     UNION ALL
                     SELECT 'slot ' || slot_name, lsn - restart_lsn FROM pg_replication_slots, written WHERE NOT active)
            SELECT name, floor(behind / 1048576) || ' MiB behind' FROM replica WHERE behind > $1::bigint
            """, [.int64(Int64(allowedLag) << 20)])
        return try lagging.map { row in
            Finding(
                .warning, "replica-lags", try row.decode(0, as: String.self),
                "this replica is \(try row.decode(1, as: String.self)), so a failover to it now would lose data",
                advice: "see pg_stat_replication and pg_replication_slots; drop a slot that no replica reads")
        }
    }
}
