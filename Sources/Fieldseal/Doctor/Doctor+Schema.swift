import PostgresClient

extension Doctor {
    /// Triggers, checks and generations that should be there and be on, the chain of events, and quarantined cells.
    ///
    /// - Parameter extent: How much of the chain is verified.
    func fences(
        of organization: Organization, _ extent: EventChainExtent, on connection: isolated PostgresConnection
    ) throws -> [Finding] {
        try triggers(of: organization, on: connection) + leaves(of: organization, on: connection)
            + events(of: organization, extent, on: connection) + quarantined(of: organization, on: connection)
    }

    /// Triggers that are missing or disabled.
    private func triggers(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Finding] {
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
        return findings
    }

    /// Cells' tables: their checks, and old generations.
    private func leaves(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Finding] {
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
}
