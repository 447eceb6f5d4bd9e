import CellCrypto
import Foundation
import Migrations
import PostgresClient

/// Walks a deployment and says what is wrong.
public struct Doctor: Sendable {
    private let deployment: Deployment
    /// Reads what only an owner or a superuser may see.
    private let administrativeConninfo: String
    private let kekFile: String
    private let kekCopyFile: String?
    private let allowedLag: Int

    /// - Parameters:
    ///   - administrativeConninfo: The connection string that migrations use.
    ///   - kekFile: The path of the key-encryption key.
    ///   - kekCopyFile: The path of its copy, where the deployment says that there is one.
    ///   - allowedLag: How far a replica may be behind, in MiB of write-ahead log.
    public init(
        _ deployment: Deployment, administrativeConninfo: String, kekFile: String, kekCopyFile: String?, allowedLag: Int = 64
    ) {
        self.deployment = deployment
        self.administrativeConninfo = administrativeConninfo
        self.kekFile = kekFile
        self.kekCopyFile = kekCopyFile
        self.allowedLag = allowedLag
    }

    /// Everything that was found, the worst first.
    ///
    /// - Parameter opensCells: Whether every cell is opened too.
    /// - Throws: ``PostgresError`` when the database can't be reached.
    public func findings(opensCells: Bool) async throws -> [Finding] {
        var findings = try await deployment.pool.withConnection { try service(on: $0) }
        findings += try await migrations() + keyEncryptionKey()
        let connection = try await PostgresConnection.connect(
            administrativeConninfo, applicationName: "fieldseal doctor")
        findings += try await connection.run { connection in
            try server(on: connection) + replicas(on: connection) + config(on: connection)
        }
        for entry in try await OrganizationEntry.list(deployment) {
            let organization = entry.organization
            findings += try await connection.run { try fences(of: organization, on: $0) }
            findings += try await key(of: organization)
            if opensCells { findings += try await cells(of: organization) }
        }
        await connection.close()
        return Self.sorted(findings)
    }

    /// What the service's own role sees of the deployment and of one organization: nothing of the others.
    public func findings(of organization: Organization) async throws -> [Finding] {
        let seen = try await deployment.pool.withConnection { connection in
            try service(on: connection) + server(on: connection) + config(on: connection) + fences(of: organization, on: connection)
        }
        let mine = seen.filter { $0.subject == organization.name || $0.subject == Finding.deployment }
        return Self.sorted(try await mine + keyEncryptionKey() + key(of: organization))
    }

    private static func sorted(_ findings: [Finding]) -> [Finding] {
        findings.sorted { ($1.severity, $0.subject, $0.code) < ($0.severity, $1.subject, $1.code) }
    }

    // MARK: The deployment

    /// What the service itself may do, and how it reaches the database.
    private func service(on connection: isolated PostgresConnection) throws -> [Finding] {
        let row = try connection.query(
            """
            SELECT r.rolsuper OR r.rolbypassrls, r.rolname, pg_has_role(r.rolname, 'fieldseal_owner', 'MEMBER'),
                   s.client_addr IS NOT NULL AND NOT coalesce(t.ssl, false)
              FROM pg_roles AS r, pg_stat_activity AS s LEFT JOIN pg_stat_ssl AS t USING (pid)
             WHERE r.rolname = current_user AND s.pid = pg_backend_pid()
            """)[0]
        var findings: [Finding] = []
        let role: String = try row.decode(1)
        if try row.decode(0, as: Bool.self) {
            findings.append(
                Finding(
                    .error, "service-is-superuser", "the service connects as \(role), a superuser, for whom no fence holds",
                    advice: "let it connect as fieldseal_service"))
        } else if try row.decode(2, as: Bool.self) {
            findings.append(
                Finding(
                    .error, "service-is-owner", "\(role) may act as fieldseal_owner, and take fences down",
                    advice: "REVOKE fieldseal_owner FROM \(role)"))
        }
        if try row.decode(3, as: Bool.self) {
            findings.append(
                Finding(
                    .warning, "database-without-tls", "the service speaks with the database over a network without TLS",
                    advice: "add sslmode=verify-full to the connection string"))
        }
        return findings
    }

    /// Whether somebody else could put another key-encryption key in the place of ours, and whether its copy is one. Its own mode is
    /// checked at every start.
    private func keyEncryptionKey() throws -> [Finding] {
        var findings: [Finding] = []
        let folder = URL(fileURLWithPath: kekFile).deletingLastPathComponent().path
        let mode = try FileManager.default.attributesOfItem(atPath: folder)[.posixPermissions] as? Int ?? 0
        // The sticky bit keeps others from replacing a file that is not theirs.
        if mode & 0o022 != 0, mode & 0o1000 == 0 {
            findings.append(
                Finding(
                    .error, "kek-folder-writable", "others may write to \(folder), and so replace the key-encryption key",
                    advice: "chmod go-w \(folder)"))
        }
        guard let kekCopyFile else { return findings }
        do {
            let copy = try KeyEncryptionKeyFile.read(kekCopyFile)
            if copy.id != deployment.kek.id {
                findings.append(
                    Finding(
                        .error, "kek-copy-differs", "\(kekCopyFile) is another key-encryption key than \(kekFile)",
                        advice: "copy the one that opens the keys of this deployment"))
            } else if try Self.device(kekCopyFile) == Self.device(kekFile) {
                findings.append(
                    Finding(
                        .warning, "kek-copy-nearby", "\(kekCopyFile) is on the same file system as the key-encryption key itself",
                        advice: "keep the copy where it survives the loss of the other"))
            }
        } catch let problem as KeyEncryptionKeyFile.Problem {
            findings.append(Finding(.error, "kek-copy-unusable", "\(problem)", advice: "copy the key-encryption key again"))
        }
        return findings
    }

    private static func device(_ path: String) throws -> Int? {
        let target = URL(filePath: path).resolvingSymlinksInPath().path
        return try FileManager.default.attributesOfItem(atPath: target)[.systemNumber] as? Int
    }

    private func migrations() async throws -> [Finding] {
        try await MigrationRunner(conninfo: administrativeConninfo).status().flatMap { status -> [Finding] in
            if let problem = status.problem {
                return [Finding(.error, "migration-problem", "\(status.target)", "\(problem)", advice: "fieldseal migrate verify")]
            }
            guard !status.pending.isEmpty else { return [] }
            return [
                Finding(
                    .error, "migrations-pending", "\(status.target)", "pending: \(status.pending.joined(separator: ", "))",
                    advice: "fieldseal migrate up")
            ]
        }
    }

    /// Settings of PostgreSQL, and the event triggers.
    private func server(on connection: isolated PostgresConnection) throws -> [Finding] {
        let row = try connection.query(
            """
            SELECT current_setting('fsync') = 'off' OR current_setting('full_page_writes') = 'off',
                   current_setting('log_statement') IN ('mod', 'all') AND current_setting('log_parameter_max_length') <> '0'
                       AND to_regprocedure('cell.derive_key(text,bytea,integer)') IS NOT NULL,
                   (SELECT coalesce(string_agg(w, ', '), '') FROM unnest(ARRAY['fieldseal_refuse_index', 'fieldseal_refuse_weakening',
                       'fieldseal_refuse_drop']) AS w
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
                    advice: "drop the functions when nobody recovers, or SET log_parameter_max_length = 0"))
        }
        let missing: String = try row.decode(2)
        if !missing.isEmpty {
            findings.append(
                Finding(
                    .warning, "no-event-trigger",
                    "nothing refuses an index over cells, or to take a fence down: missing or disabled is \(missing)",
                    advice: "apply migrations/bootstrap.sql as a superuser: fieldseal migrate bootstrap"))
        }
        return findings
    }

    /// Replicas that lack more write-ahead log than is allowed, and replication slots that nobody reads.
    ///
    /// Bytes, not time: a replica whose replay stands still reports no time.
    private func replicas(on connection: isolated PostgresConnection) throws -> [Finding] {
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
                "a failover now would lose what it lacks; it is \(try row.decode(1, as: String.self))",
                advice: "see pg_stat_replication and pg_replication_slots; drop a slot that nobody reads")
        }
    }

    /// Rows that grant power, keys that nobody may have a copy of, and what dead changes left.
    private func config(on connection: isolated PostgresConnection) throws -> [Finding] {
        var findings: [Finding] = []
        let registry = ClientRegistry(deployment)
        let clients = try connection.query(
            """
            SELECT c.client_id, c.organization_id, c.name, c.systemuser_id, c.role, c.tag, o.name
              FROM config.api_client AS c JOIN config.organization AS o USING (organization_id) WHERE c.disabled_on IS NULL
            """)
        for row in clients {
            let tag = try registry.clientTag(try row.decode(0), try row.decode(1), try row.decode(3), try row.decode(4))
            guard !constantTimeEqual(tag, try row.decode(5, as: PostgresBytes.self).bytes) else { continue }
            findings.append(
                Finding(
                    .error, "client-not-made-here", try row.decode(6, as: String.self),
                    "the client \(try row.decode(2, as: String.self)) was not made by this service, and is not honoured",
                    advice: "find out who inserted it, and disable it: fieldseal client disable"))
        }
        let users = ConsoleUsers(deployment)
        let people = try connection.query(
            """
            SELECT \(ConsoleUsers.columns), o.name FROM config.console_user AS u JOIN config.organization AS o USING (organization_id)
             WHERE u.disabled_on IS NULL
            """)
        for row in people where try users.row(row) == nil {
            findings.append(
                Finding(
                    .error, "user-not-made-here", try row.decode(9, as: String.self),
                    "the person \(try row.decode(2, as: String.self)) was not added by this service, and is not honoured",
                    advice: "find out who inserted the row, and disable it: fieldseal user disable"))
        }
        let foreign = try connection.query(
            """
            SELECT o.name, count(*), bool_or(k.retired_on IS NULL) FROM config.organization_key AS k JOIN config.organization AS o USING (organization_id)
             WHERE k.kek_id <> $1 AND k.purged_on IS NULL GROUP BY 1
            """, [.text(deployment.kek.id)])
        for row in foreign {
            findings.append(
                Finding(
                    .warning, "wrapped-under-another-kek", try row.decode(0, as: String.self),
                    "\(try row.decode(1, as: Int.self)) versions of its key are wrapped under a key-encryption key that is not this one",
                    advice:
                        "put the other one back; or activate the current version, and purge the retired ones: fieldseal key purge"))
        }
        let dead = try connection.query(
            """
            SELECT o.name FROM config.key_change AS c JOIN config.organization AS o USING (organization_id)
             WHERE NOT EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.pid = c.backend)
            """)
        for row in dead {
            findings.append(
                Finding(
                    .notice, "dead-change", try row.decode(0, as: String.self), "a key change died and left its progress behind",
                    advice: "the service's next sweep, within minutes, or the next change takes it away"))
        }
        return findings
    }

    // MARK: Organizations

    /// Triggers, checks and generations that should be there and be on.
    private func fences(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Finding] {
        let schema = organization.schema
        var findings: [Finding] = []
        func say(_ severity: Finding.Severity, _ code: String, _ message: String, _ advice: String) {
            findings.append(Finding(severity, code, organization.name, message, advice: advice))
        }
        let disabled = try connection.query(
            """
            SELECT t.tgrelid::regclass::text || '.' || t.tgname FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
             WHERE c.relnamespace = $1::text::regnamespace AND NOT t.tgisinternal AND t.tgenabled = 'D' AND t.tgname <> 'notes_change'
            """, [.text(quoteIdentifier(schema))]
        ).map { try $0.decode(0, as: String.self) }
        for name in disabled {
            say(
                .error, "fence-disabled", "the trigger \(name) is disabled", "ALTER TABLE … ENABLE TRIGGER …, then fieldseal verify"
            )
        }
        let missing = try connection.query(
            """
            WITH wanted (suffix, trigger) AS (VALUES ('_cell', 'cell_needs_record'), ('_cell', 'cell_keeps_id'),
                ('_cell', 'cell_refuses_truncate'), ('', 'takes_cells_along'), ('', 'keeps_id'), ('', 'refuses_truncate'))
            SELECT e || w.suffix || '.' || w.trigger FROM unnest($2::text[]) AS e, wanted AS w
             WHERE NOT EXISTS (SELECT FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
                   WHERE c.relnamespace = $1::text::regnamespace AND c.relname = e || w.suffix AND t.tgname = w.trigger)
            """, [.text(quoteIdentifier(schema)), .texts(EntityCatalog.withCells.map(\.logicalName))]
        ).map { try $0.decode(0, as: String.self) }
        for name in missing {
            say(
                .error, "fence-missing", "the trigger \(name) is missing",
                "restore it from the migrations: fieldseal migrate verify names the file")
        }
        let broken = try connection.query(
            "SELECT security_event_id::text || ': ' || problem FROM \(organization.qualified("verify_security_events"))() LIMIT 10")
        for row in broken {
            say(
                .error, "event-chain-broken", "security event \(try row.decode(0, as: String.self))",
                "compare security_event with a backup: somebody changed what is recorded")
        }
        if let problem = try EventChain.problem(of: organization, under: deployment.kek, on: connection) {
            say(.error, "event-chain-cut", problem, "compare security_event with a backup: somebody changed what is recorded")
        }
        let quarantined = try connection.query(
            "SELECT key_version, count(*) FROM \(organization.qualified("quarantined_cell")) GROUP BY 1 ORDER BY 1")
        for row in quarantined {
            say(
                .notice, "quarantined-cells",
                "\(try row.decode(1, as: Int.self)) cells of the retired key version \(try row.decode(0, as: Int.self)) are in quarantine",
                "set those passwords anew, or restore the cells from a backup; then delete them from quarantined_cell")
        }
        let leaves = try connection.query(
            """
            SELECT c.relname, c.relpersistence = 'u',
                   (SELECT count(*) FROM pg_constraint AS k WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.convalidated
                       AND pg_get_constraintdef(k.oid) LIKE '%is_cell%') <
                   (SELECT count(*) FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.atttypid = 'bytea'::regtype),
                   c.relname !~ ('_k' || e.key_version || '$') AND NOT EXISTS (SELECT FROM config.key_change AS k
                       WHERE k.organization_id = e.organization_id)
              FROM pg_class AS c, \(organization.qualified("encryption")) AS e
             WHERE c.relnamespace = $1::text::regnamespace AND c.relkind = 'r' AND c.relname ~ '_cell_k[0-9]+$'
            """, [.text(quoteIdentifier(schema))])
        for row in leaves {
            let leaf: String = try row.decode(0)
            if try row.decode(1, as: Bool.self) {
                say(.error, "unlogged-cells", "\(leaf) is unlogged: a crash empties it", "ALTER TABLE \(schema).\(leaf) SET LOGGED")
            }
            if try row.decode(2, as: Bool.self) {
                say(
                    .error, "cell-check-missing", "\(leaf) takes bytes that are no cell",
                    "add the CHECK with cell.is_cell again, and validate it")
            }
            if try row.decode(3, as: Bool.self) {
                say(
                    .notice, "old-generation", "\(leaf) is an old generation",
                    "the service's next sweep drops it once nobody's snapshot needs it")
            }
        }
        return findings
    }

    private func key(of organization: Organization) async throws -> [Finding] {
        let (state, copied) = try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(organization.name, on: connection)
            let rows = try connection.query(
                "SELECT copied_on IS NOT NULL FROM config.organization_key WHERE organization_id = $1 AND key_version = $2 AND fingerprint = $3",
                [.uuid(organization.id), .int32(Int32(state.keyVersion)), .text(state.fingerprint)])
            return (state, try rows.first?.decode(0, as: Bool.self) ?? false)
        }
        guard deployment.keyring.dataKey(of: state) != nil else {
            return [
                Finding(
                    .error, "key-required", organization.name,
                    "passwords can't be set: config has no key that opens the key check. Wanted: version \(state.keyVersion), "
                        + "fingerprint \(state.fingerprint), set on \(ISO8601.text(state.changedOn))",
                    advice: "fieldseal key activate, with the key as it was copied out")
            ]
        }
        var findings: [Finding] = []
        if !copied {
            findings.append(
                Finding(
                    .warning, "key-never-copied", organization.name,
                    "nobody ever read the key: if config and its backups are lost, so are the passwords",
                    advice: "fieldseal key show, and keep it where config is not"))
        }
        if Date().timeIntervalSince(state.changedOn) > 365 * 86_400 {
            findings.append(
                Finding(
                    .warning, "key-overdue", organization.name, "the key is more than a year old", advice: "fieldseal key change"))
        }
        return findings
    }

    private func cells(of organization: Organization) async throws -> [Finding] {
        let session = try await Session.begin(deployment, organization: organization.name, caller: .commandLine(user: "doctor"))
        do {
            return try await session.verifyCells().bad.map { cell in
                Finding(
                    .error, "cell-does-not-open", organization.name,
                    "\(cell.address): \(cell.origin.map { "this is the cell of \($0)" } ?? cell.cause.rawValue)",
                    advice: "restore it from a backup, set the password again, or clear it")
            }
        } catch let error as FieldsealError where error.code.asksForKey {
            return []
        }
    }
}
