import Foundation
import Model
import Organizations
import PostgresClient
import Tenancy

extension Doctor {
    /// Makes the reference for schemas, and reports how the shared schemas `config` and `cell` differ from it.
    func schemas(on connection: isolated PostgresConnection) throws -> (SchemaReference?, [Finding]) {
        let registry = OrganizationRegistry(conninfo: administrativeConninfo, kek: deployment.kek, policy: deployment.policy)
        do {
            let reference = try SchemaReference.make(registry, on: connection)
            return (reference, try deploymentSchemas(reference, on: connection))
        } catch let error as PostgresError where error.isConnectionLoss {
            throw error
        } catch {
            let finding = Finding(
                .warning, "schema-not-compared", "the schemas were not compared with the program's migrations: \(error)",
                advice:
                    "run it on the primary, with migrationDatabase as a role that may act as fieldseal_owner, after fieldseal migrate up"
            )
            return (nil, [finding])
        }
    }

    /// Reports an organization without a schema, or without its row in the table `encryption`; nil if both exist.
    func whole(_ organization: Organization, on connection: isolated PostgresConnection) throws -> Finding? {
        let there = try connection.query(
            "SELECT to_regnamespace($1) IS NOT NULL, to_regclass($2) IS NOT NULL",
            [.text(quoteIdentifier(organization.schema)), .text(organization.qualified("encryption"))])[0]
        guard try there.decode(0) else {
            return Finding(
                .error, "schema-missing", organization.name, "its schema \(organization.schema) does not exist",
                advice: "restore the schema from a backup")
        }
        let rows =
            try there.decode(1)
            ? try connection.query("SELECT organization_id FROM \(organization.qualified("encryption"))").map {
                try $0.decode(0, as: UUID.self)
            }
            : []
        guard rows == [organization.id] else {
            return Finding(
                .error, "encryption-missing", organization.name,
                "the row of \(organization.schema).encryption is missing, or belongs to another organization. Without the right "
                    + "row, no key opens the cells",
                advice: "restore the table encryption from a backup of the schema")
        }
        return nil
    }

    /// Whether an organization's schema is at the newest migration.
    func isNewest(_ organization: Organization) async throws -> Bool {
        try await deployment.pool.withConnection { connection in
            let rows = try connection.query(
                "SELECT schema_version = $2 FROM config.organization WHERE organization_id = $1",
                [.uuid(organization.id), .text(OrganizationState.schemaVersion)])
            return try rows.first?.decodeIfPresent(0, as: Bool.self) ?? false
        }
    }

    /// Reports triggers that are missing or disabled. Only the triggers' names are compared.
    func triggers(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Finding] {
        let schema = organization.schema
        var findings: [Finding] = []
        func say(_ severity: Finding.Severity, _ code: String, _ message: String, _ advice: String) {
            findings.append(Finding(severity, code, organization.name, message, advice: advice))
        }
        let disabled = try connection.query(
            """
            SELECT t.tgrelid::regclass::text || '.' || t.tgname FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
             WHERE c.oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace"))
               AND NOT t.tgisinternal AND t.tgenabled NOT IN ('O', 'A') AND t.tgname <> 'notes_change'
            """, [.text(quoteIdentifier(schema))]
        ).map { try $0.decode(0, as: String.self) }
        for name in disabled {
            say(
                .error, "fence-disabled", "the trigger \(name) is disabled, or fires in other sessions than it should",
                "ALTER TABLE … ENABLE TRIGGER …, then fieldseal verify"
            )
        }
        let missing = try connection.query(
            """
            WITH wanted (suffix, trigger) AS (VALUES ('_cell', 'cell_needs_record'), ('_cell', 'cell_keeps_id'),
                ('_cell', 'cell_refuses_truncate'), ('', 'takes_cells_along'), ('', 'keeps_id'), ('', 'refuses_truncate'))
            , named (relation, trigger) AS (
                SELECT e || w.suffix, w.trigger FROM unnest($2::text[]) AS e, wanted AS w
                UNION ALL SELECT e, 'audits' FROM unnest($2::text[]) AS e
                UNION ALL VALUES ('security_event', 'keep'), ('security_event', 'keep_all'), ('security_event', 'chain'),
                    ('audit_setting', 'refuses_encrypted'), ('systemuser', 'audits'), ('team', 'audits'))
            SELECT n.relation || '.' || n.trigger FROM named AS n
             WHERE NOT EXISTS (SELECT FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
                   WHERE c.relnamespace = $1::text::regnamespace AND c.relname = n.relation AND t.tgname = n.trigger)
            """, [.text(quoteIdentifier(schema)), .texts(EntityCatalog.withCells.map(\.logicalName))]
        ).map { try $0.decode(0, as: String.self) }
        for name in missing {
            say(
                .error, "fence-missing", "the trigger \(name) is missing",
                "restore it from the migrations: fieldseal migrate verify names the file")
        }
        return findings
    }

    /// Reports missing CHECK constraints of cell tables, and old generations that were not dropped.
    func leaves(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Finding] {
        let schema = organization.schema
        var findings: [Finding] = []
        func say(_ severity: Finding.Severity, _ code: String, _ message: String, _ advice: String) {
            findings.append(Finding(severity, code, organization.name, message, advice: advice))
        }
        let leaves = try connection.query(
            """
            SELECT c.relname, c.relpersistence = 'u',
                   (SELECT count(*) FROM pg_constraint AS k WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.convalidated
                       AND pg_get_constraintdef(k.oid) LIKE '%is_cell%') <
                   (SELECT count(*) FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.atttypid = 'bytea'::regtype),
                   c.relname !~ ('_k' || e.key_version || '$') AND NOT EXISTS (SELECT FROM config.key_change AS k
                       WHERE k.organization_id = e.organization_id),
                   c.relispartition AND c.relname !~ ('_k' || e.key_version || '$') AND NOT EXISTS (SELECT FROM pg_trigger AS t
                       JOIN pg_proc AS p ON p.oid = t.tgfoid WHERE t.tgrelid = c.oid AND t.tgname = 'a_retired'
                       AND t.tgenabled IN ('O', 'A') AND p.proname = 'refuse_retired' AND p.pronamespace = c.relnamespace),
                   substring(c.relname FROM '_k([0-9]+)$')::numeric > e.key_version
              FROM pg_class AS c, \(organization.qualified("encryption")) AS e
             WHERE c.oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace")) AND c.relkind = 'r' AND c.relname ~ '_cell_k[0-9]+$'
            """, [.text(quoteIdentifier(schema))])
        for row in leaves {
            let partition: String = try row.decode(0)
            if try row.decode(1, as: Bool.self) {
                say(
                    .error, "unlogged-cells", "\(partition) is unlogged: a crash empties it",
                    "ALTER TABLE \(schema).\(partition) SET LOGGED")
            }
            if try row.decode(2, as: Bool.self) {
                say(
                    .error, "cell-check-missing", "\(partition) accepts bytes that are not a cell",
                    "add the CHECK with cell.is_cell again, and validate it")
            }
            if try row.decode(4, as: Bool.self) {
                say(
                    .error, "fence-missing",
                    "the trigger a_retired of \(partition) is missing or disabled, so cells can be written under a retired key",
                    "wait for the service's next sweep, which drops \(partition), and find out who changed the trigger")
            }
            guard try row.decode(3, as: Bool.self) else { continue }
            if try row.decode(5, as: Bool.self) {
                say(
                    .notice, "later-generation",
                    "\(partition) is of a later key version than the one in force, and no key change is under way",
                    "find out who made the table. Key changes ignore it, and sweeps drop it once a later key is in force. After a "
                        + "restore, the table may have newer passwords")
            } else {
                say(
                    .notice, "old-generation", "\(partition) has the cells of a former key",
                    "the service's next sweep drops the table once no transaction needs it, if this service stored the key in force"
                )
            }
        }
        return findings
    }
}
