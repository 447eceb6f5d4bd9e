import Foundation
import Migrations
import Organizations
import PostgresClient
import Tenancy

/// The schemas that the program's own migrations make on this server. The migrations are applied to a scratch organization and to
/// a second `config`, in a transaction that is rolled back.
struct SchemaReference: Sendable {
    let organization: SchemaDescription
    let config: SchemaDescription
    /// The audit settings that the migrations make.
    let auditSettings: Set<AuditSetting>
    /// The schema `cell`, as it is in the database, and as its migrations make it.
    let cell: (found: SchemaDescription, wanted: SchemaDescription)

    /// The scratch organization's name. No real organization can have it.
    private static let name = "fieldseal-reference-of-the-doctor"

    /// Makes the reference.
    ///
    /// - Throws: ``PostgresError`` when the role lacks the rights, the database is read-only, or another session holds a lock.
    static func make(_ registry: OrganizationRegistry, on connection: isolated PostgresConnection) throws -> SchemaReference {
        try connection.execute("BEGIN; SET LOCAL lock_timeout = '5s'")
        defer { connection.rollBack() }
        try registry.begin(on: connection)
        try connection.execute(withoutDefaultPrivileges)
        let found = try SchemaDescription(of: "cell", keyVersion: nil, isDetailed: true, on: connection)
        // No other connection sees the new names, because the transaction is rolled back.
        try connection.execute("SET LOCAL fieldseal.maintenance = 'on'; ALTER SCHEMA config RENAME TO config__found")
        try MigrationRunner.applyAll(to: .config, on: connection)
        let config = try SchemaDescription(of: "config", keyVersion: nil, isDetailed: true, on: connection)
        let wanted = try SchemaDescription(of: "cell", keyVersion: nil, isDetailed: true, on: connection)
        let scratch = Organization(id: UUID(), name: name)
        try registry.make(scratch, by: .commandLine(user: "doctor"), on: connection)
        let organization = try SchemaDescription(of: scratch.schema, keyVersion: 1, isDetailed: true, on: connection)
        return SchemaReference(
            organization: organization, config: config, auditSettings: try AuditSetting.all(of: scratch, on: connection),
            cell: (found, wanted))
    }
}

extension Doctor {
    /// The differences of `config` and `cell` from the reference, and of the event triggers from the program's.
    func deploymentSchemas(_ reference: SchemaReference, on connection: isolated PostgresConnection) throws -> [Finding] {
        let config = try SchemaDescription(of: "config", keyVersion: nil, isDetailed: true, on: connection)
        var findings = Self.findings(
            SchemaDifference.list(config, against: reference.config), in: "config", about: Finding.deployment)
        // The functions of bootstrap.sql and recovery.sql belong to no migration, so `cellFunctions` compares them.
        let changed = SchemaDifference.list(reference.cell.found, against: reference.cell.wanted)
        findings += Self.findings(changed, in: "cell", about: Finding.deployment)
        return try findings + cellFunctions(on: connection) + hiddenObjects(on: connection) + eventTriggers(on: connection)
    }

    /// The differences of an organization's schema from the reference. Without differences this takes one query.
    func structure(
        of organization: Organization,
        _ reference: SchemaReference,
        on connection: isolated PostgresConnection
    ) throws -> [Finding] {
        let row = try connection.query("SELECT key_version FROM \(organization.qualified("encryption"))").first
        let version = try row?.decode(0, as: Int.self)
        let quick = try SchemaDescription(of: organization.schema, keyVersion: version, isDetailed: false, on: connection)
        if quick.digest == reference.organization.digest { return [] }
        let description = try SchemaDescription(of: organization.schema, keyVersion: version, isDetailed: true, on: connection)
        return Self.findings(
            SchemaDifference.list(description, against: reference.organization), in: organization.schema, about: organization.name,
            keyVersion: version)
    }

    // MARK: Words

    /// Beyond this number, differences are counted and not listed.
    private static let differenceLimit = 20

    private static func findings(
        _ differences: [SchemaDifference], in schema: String, about subject: String, keyVersion: Int? = nil
    ) -> [Finding] {
        var findings = differences.prefix(differenceLimit).map { finding($0, in: schema, about: subject, keyVersion) }
        if differences.count > differenceLimit {
            findings.append(
                Finding(
                    .error, "object-changed", subject,
                    "\(differences.count - differenceLimit) more objects of the schema \(schema) differ from the program's migrations",
                    advice: "restore the schema's definition from a backup, or export the organization and import it"))
        }
        return findings
    }

    private static func finding(
        _ difference: SchemaDifference, in schema: String, about subject: String, _ keyVersion: Int?
    ) -> Finding {
        let table = "_cell_k\(keyVersion.map(String.init) ?? "@")"
        let (kind, name) = (
            difference.line.kind, difference.line.name.replacing("_cell_k@", with: table).replacing("@", with: schema)
        )
        let what = "the \(kind) \(name)"
        let restore = "restore its definition from the migrations, and find out who changed it"
        switch (difference.problem, kind) {
        case (.missing, "trigger"):
            return Finding(.error, "fence-missing", subject, "\(what) of \(schema) is missing", advice: restore)
        case (.missing, "grant"):
            return Finding(.warning, "object-missing", subject, "\(what) in \(schema) was revoked", advice: restore)
        case (.missing, _):
            return Finding(.error, "object-missing", subject, "\(what) of \(schema) is missing", advice: restore)
        case (.changed, "trigger state"):
            let state = difference.actual?.contains("D") == true ? "is disabled" : "fires in other sessions than it should"
            return Finding(
                .error, "fence-disabled", subject, "the trigger \(name) of \(schema) \(state)",
                advice: "ALTER TABLE … ENABLE TRIGGER …, then fieldseal verify")
        case (.changed, _):
            return Finding(
                .error, "object-changed", subject, "\(what) of \(schema) is not as the program's migrations make it",
                advice: restore)
        case (.foreign, "grant"):
            let isReading = ["SELECT ", "USAGE "].contains { name.hasPrefix($0) }
            return Finding(
                isReading ? .warning : .error, "foreign-grant", subject, "\(what) in \(schema) is not the program's",
                advice: "REVOKE it, unless you gave it on purpose")
        case (.foreign, "table"), (.foreign, "view"), (.foreign, "sequence"), (.foreign, "column"), (.foreign, "index"):
            return Finding(
                .warning, "foreign-object", subject, "\(what) of \(schema) is not the program's; exports and upgrades leave it out",
                advice: "move it to another schema")
        case (.foreign, _):
            return Finding(
                .error, "foreign-object", subject, "\(what) of \(schema) is not the program's",
                advice: "find out who made it, and drop it")
        }
    }

    // MARK: What bootstrap.sql and recovery.sql make

    /// Reports functions of `cell` that no file of the program makes, or whose body differs from the body in the file. The check
    /// does not use `pg_depend`, because a superuser can delete rows from that catalog.
    private func cellFunctions(on connection: isolated PostgresConnection) throws -> [Finding] {
        let rows = try connection.query(
            """
            SELECT p.proname::text, p.prosrc, coalesce(array_to_string(p.proconfig, ' '), ''), p.prosecdef, r.rolsuper OR r.rolname = 'fieldseal_owner'
              FROM pg_proc AS p JOIN pg_roles AS r ON r.oid = p.proowner WHERE p.pronamespace = to_regnamespace('cell')
            """)
        // The recovery script creates its functions with format(), in whose text %% stands for %.
        let scripts = MigrationCatalog.bootstrap + MigrationCatalog.recovery.replacing("%%", with: "%")
        let known = Set(
            MigrationCatalog.files.flatMap { file in file.sql.matches(of: #/FUNCTION cell\.(\w+)/#).map { String($0.1) } })
        return try rows.compactMap { row in
            let (name, body): (String, String) = (try row.decode(0), try row.decode(1))
            guard known.contains(name) else {
                return Finding(
                    .error, "foreign-object", "the function \(name) of cell is not the program's",
                    advice: "find out who made it, and drop it")
            }
            let isScripts = scripts.contains("FUNCTION cell.\(name)(")
            let isSame =
                try !isScripts
                || body.contains("BEGIN") && scripts.contains("$\(body)$")
                    && row.decode(2, as: String.self).hasPrefix("search_path=pg_catalog")
                    && !row.decode(3, as: Bool.self)
            guard try !isSame || !row.decode(4, as: Bool.self) else { return nil }
            return Finding(
                .error, "object-changed", "the function \(name) of cell is not as the program's scripts make it",
                advice:
                    "apply them again as a superuser: fieldseal migrate bootstrap, and fieldseal migrate recovery where it is used")
        }
    }

    /// Reports objects that lack the row in `pg_depend` that ties an object to its schema. The comparisons of schemas find objects
    /// by that row, and a superuser can delete the row.
    private func hiddenObjects(on connection: isolated PostgresConnection) throws -> [Finding] {
        func without(_ catalog: String, _ schema: String) -> String {
            """
            SELECT o.oid FROM \(catalog) AS o JOIN pg_namespace AS n ON n.oid = o.\(schema)
             WHERE (n.nspname ~ '^org_' OR n.nspname IN ('config', 'cell')) AND NOT EXISTS (
                   SELECT FROM pg_depend AS d WHERE d.classid = '\(catalog)'::regclass AND d.objid = o.oid
                       AND d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid)
            """
        }
        let rows = try connection.query(
            """
            SELECT 'the function ' || f.oid::regprocedure::text FROM (\(without("pg_proc", "pronamespace"))) AS f
            UNION ALL
            SELECT 'the table ' || r.oid::regclass::text FROM (\(without("pg_class", "relnamespace"))
                AND o.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')) AS r
             ORDER BY 1 LIMIT 100
            """)
        return try rows.map { row in
            Finding(
                .error, "object-hidden",
                "\(try row.decode(0, as: String.self)) has lost its row in pg_depend: a superuser deleted it",
                advice: "find out who did that, and compare the object with the program's migrations")
        }
    }

    /// Reports event triggers of the program that were replaced, and foreign event triggers.
    private func eventTriggers(on connection: isolated PostgresConnection) throws -> [Finding] {
        let rows = try connection.query(
            """
            SELECT e.evtname::text, e.evtfoid::regproc::text, e.evtevent::text, coalesce(array_to_string(e.evttags, ', '), '')
              FROM pg_event_trigger AS e
            """)
        return try rows.compactMap { row in
            let (name, function): (String, String) = (try row.decode(0), try row.decode(1))
            let event: String = try row.decode(2)
            guard let wanted = Self.wantedEventTriggers[name] else {
                return Finding(
                    .notice, "foreign-event-trigger",
                    "the event trigger \(name) is not the program's; it calls \(function) at \(event)",
                    advice: "check that it is yours")
            }
            if wanted == [function, event, try row.decode(3)] { return nil }
            return Finding(
                .error, "object-changed", "the event trigger \(name) is not as the program's scripts make it",
                advice: "DROP EVENT TRIGGER \(name), then fieldseal migrate bootstrap as a superuser")
        }
    }

    /// The function, event and tags of each event trigger in bootstrap.sql.
    private static let wantedEventTriggers: [String: [String]] = {
        let pattern = #/CREATE EVENT TRIGGER (\w+) ON (\w+)(?:\s+WHEN TAG IN \(([^)]*)\))?\s+EXECUTE FUNCTION ([\w.]+)\(\)/#
        let found = MigrationCatalog.bootstrap.matches(of: pattern).map { match in
            let tags = (match.3 ?? "").split(separator: ",").map { $0.trimmingCharacters(in: CharacterSet(charactersIn: "' \n")) }
            return (String(match.1), [String(match.4), String(match.2), tags.joined(separator: ", ")])
        }
        return Dictionary(found, uniquingKeysWith: { first, _ in first })
    }()
}
