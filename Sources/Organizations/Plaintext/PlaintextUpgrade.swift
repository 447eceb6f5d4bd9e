import Foundation
import Migrations
import Model
import PostgresClient
import Records
package import Tenancy

extension OrganizationRegistry {
    /// Makes an organization from a schema whose tables have passwords in `text` columns, in one transaction. Rows are copied to
    /// new tables, passwords go into cells under a generated key, and the old tables are dropped with their files.
    ///
    /// - Parameters:
    ///   - isRehearsal: Whether to roll everything back at the end.
    ///   - discards: Accepted losses: names in ``PlaintextUpgradeSummary/losses``.
    /// - Throws: ``FieldsealError`` when there is no such schema, it has no such column, it has cells already, or a loss was not
    ///   accepted.
    package func upgradeFromPlaintext(
        name: String,
        isRehearsal: Bool,
        discards: [String] = [],
        by caller: Caller
    ) async throws -> PlaintextUpgradeSummary {
        guard Organization.isName(name) else {
            throw FieldsealError(.invalidArgument, "\(name.quotedForMessage) is not an organization's name.")
        }
        try Organization.checkReachable(name)
        let upgrade = PlaintextUpgrade(
            name: name, registry: self, caller: caller, isRehearsal: isRehearsal, discards: Set(discards))
        let connection = try await PostgresConnection.connect(conninfo, applicationName: "fieldseal org upgrade")
        return try await connection.run { connection in
            try connection.execute("BEGIN")
            do {
                let summary = try upgrade.run(on: connection)
                if isRehearsal { connection.rollBack() } else { try connection.commit() }
                return summary
            } catch {
                connection.rollBack()
                throw error
            }
        }
    }

    /// Removes PostgreSQL's statistics of the dropped columns (`pg_statistic` holds common values), and writes everything to disk.
    ///
    /// - Returns: The folders of the database's files and of its WAL; nil if the role may not do that.
    package func settleFiles() async throws -> (data: String, log: String)? {
        let connection = try await PostgresConnection.connect(conninfo, applicationName: "fieldseal org upgrade")
        return try await connection.run { connection in
            guard try connection.query("SELECT rolsuper FROM pg_roles WHERE rolname = session_user")[0].decode(0) else {
                return nil
            }
            try connection.execute("VACUUM FULL pg_catalog.pg_statistic")
            try connection.execute("CHECKPOINT")
            let row = try connection.query(
                """
                SELECT current_setting('data_directory') || '/base/' || oid, current_setting('data_directory') || '/pg_wal'
                  FROM pg_database WHERE datname = current_database()
                """)[0]
            return (try row.decode(0), try row.decode(1))
        }
    }
}

/// The steps of one upgrade, in its transaction.
struct PlaintextUpgrade: Sendable {
    let name: String
    let registry: OrganizationRegistry
    let caller: Caller
    let isRehearsal: Bool
    let discards: Set<String>

    private var schema: String { Organization.schema(of: name) }
    var old: String { "\(schema)__plaintext" }
    /// How many rows are read and encrypted at a time.
    static let batch = 2_000
    /// Tables that the program fills itself, so that no row of the old schema is copied into them.
    private static let ours: Set = [
        "encryption", "migration", "security_event", "quarantined_cell", "cell_change", "audit_setting", "audit_block",
    ]

    func run(on connection: isolated PostgresConnection) throws -> PlaintextUpgradeSummary {
        let start = ContinuousClock.now
        let columns = try plaintextColumns(on: connection)
        try putAside(on: connection)
        let organization = Organization(id: try organizationID(on: connection) ?? UUID(), name: name)
        try connection.execute("CREATE SCHEMA \(quoteIdentifier(schema))")
        try registry.register(organization, by: caller, on: connection)
        try MigrationRunner.applyAll(
            to: .organization(id: organization.id, name: name, schema: schema), on: connection)
        try connection.execute("SET LOCAL fieldseal.maintenance = 'on'")
        let guards = try SuspendedGuards(in: schema, on: connection)
        let copies = try tables(on: connection).map { try copy($0, columns[$0] ?? [], to: organization, on: connection) }
        // The old blocks are not copied. The copied entries are sealed anew.
        try connection.execute("UPDATE \(organization.qualified("audit")) SET block = NULL WHERE block IS NOT NULL")
        try registry.seed(organization, on: connection)
        try addUserSettings(to: organization, on: connection)
        try restore(guards, on: connection)
        try goOn(organization, copies, on: connection)
        let losses = try PlaintextLosses(
            schema: old, copied: Dictionary(uniqueKeysWithValues: copies.map { ($0.table, $0.columns) })
        ).list(on: connection)
        let unaccepted = losses.map(\.name).filter { !discards.contains($0) }
        guard isRehearsal || unaccepted.isEmpty else { throw Self.wouldLose(losses.filter { unaccepted.contains($0.name) }) }
        let (cells, scan, key) = try seal(columns, organization, on: connection)
        try registry.attest(organization, keys: [key], on: connection)
        try MailDestination.authorizeAll(in: organization, under: registry.kek, on: connection)
        try SecurityEvent(
            .organizationUpgraded, .succeeded, keyVersion: 1, fingerprint: key.keyFingerprint, details: "\(cells) cells"
        ).insert(for: organization, by: caller, under: registry.kek, on: connection)
        // The files of the dropped schema are deleted at the commit.
        try connection.execute("SET LOCAL ROLE NONE")
        if unaccepted.isEmpty {
            try PlaintextLosses(schema: old, copied: Dictionary(uniqueKeysWithValues: copies.map { ($0.table, $0.columns) }))
                .drop(losses, on: connection)
        }
        return PlaintextUpgradeSummary(
            organization: organization, records: copies.map { ($0.table, $0.count) }, cells: cells, duration: .now - start,
            plaintexts: scan, losses: losses.map { ($0.name, $0.description) }, unaccepted: unaccepted)
    }

    private static func wouldLose(_ losses: [PlaintextLosses.Loss]) -> FieldsealError {
        let options = losses.map { "--discard '\($0.name)'" }.joined(separator: " ")
        return FieldsealError(
            .invalidArgument,
            "The upgrade would lose: \(losses.map(\.description).joined(separator: "; ")). Nothing was changed. "
                + "Copy this data elsewhere, or accept its loss: \(options)")
    }

    /// The `text` columns with the names of encrypted attributes, by table.
    private func plaintextColumns(on connection: isolated PostgresConnection) throws -> [String: [String]] {
        let there = try connection.query(
            "SELECT to_regnamespace($1) IS NOT NULL, to_regclass($2) IS NOT NULL",
            [.text(quoteIdentifier(schema)), .text("\(quoteIdentifier(schema)).encryption")])[0]
        guard try there.decode(0) else { throw FieldsealError(.objectDoesNotExist, "There is no schema \(schema).") }
        guard try !there.decode(1, as: Bool.self) else {
            throw FieldsealError(.duplicateRecord, "The schema \(schema) has sealed cells already: fieldseal org attach \(name).")
        }
        var columns: [String: [String]] = [:]
        for entity in EntityCatalog.withCells {
            let found = try connection.query(
                """
                SELECT a.attname::text FROM pg_attribute AS a
                 WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
                   AND a.atttypid IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype) AND a.attname = ANY ($2)
                 ORDER BY 1
                """,
                [
                    .text("\(quoteIdentifier(schema)).\(quoteIdentifier(entity.logicalName))"),
                    .texts(entity.encryptedAttributes.map(\.logicalName)),
                ]
            ).map { try $0.decode(0, as: String.self) }
            if !found.isEmpty { columns[entity.logicalName] = found }
        }
        guard !columns.isEmpty else {
            let wanted = EntityCatalog.withCells.flatMap { entity in
                entity.encryptedAttributes.map { entity.cellName($0.logicalName) }
            }
            throw FieldsealError(
                .invalidArgument, "No table of \(schema) has one of the columns \(wanted.joined(separator: ", ")) as text.")
        }
        return columns
    }

    /// Locks all old tables, and renames their schema, so that the new schema can have its name.
    private func putAside(on connection: isolated PostgresConnection) throws {
        let names = try connection.query(
            """
            SELECT c.oid::regclass::text FROM pg_class AS c
             WHERE c.oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace")) AND c.relkind IN ('r', 'p')
            """,
            [.text(quoteIdentifier(schema))]
        ).map { try $0.decode(0, as: String.self) }
        try connection.execute("LOCK TABLE \(names.joined(separator: ", ")) IN ACCESS EXCLUSIVE MODE")
        try connection.execute(
            """
            ALTER SCHEMA \(quoteIdentifier(schema)) RENAME TO \(quoteIdentifier(old));
            GRANT USAGE ON SCHEMA \(quoteIdentifier(old)) TO fieldseal_owner;
            GRANT SELECT ON ALL TABLES IN SCHEMA \(quoteIdentifier(old)) TO fieldseal_owner;
            SET LOCAL ROLE fieldseal_owner;
            """)
    }

    /// The old tables that the program knows.
    private func tables(on connection: isolated PostgresConnection) throws -> [String] {
        let names = try connection.query(
            """
            SELECT c.relname::text FROM pg_class AS c JOIN pg_class AS o USING (relname)
             WHERE c.oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace")) AND c.relkind = 'r'
               AND o.oid IN \(SchemaMembers.relations(of: "$2::text::regnamespace")) AND o.relkind IN ('r', 'p') ORDER BY 1
            """, [.text(quoteIdentifier(schema)), .text(quoteIdentifier(old))])
        return try names.map { try $0.decode(0, as: String.self) }.filter { !Self.ours.contains($0) }
    }

    /// Gives settings to the copied users that had none, as each new user gets.
    private func addUserSettings(to organization: Organization, on connection: isolated PostgresConnection) throws {
        let users = try connection.query(
            """
            SELECT u.systemuserid, coalesce(u.businessunitid, (SELECT businessunitid FROM \(organization.qualified("businessunit"))
                                                                ORDER BY createdon, businessunitid LIMIT 1))
              FROM \(organization.qualified("systemuser")) AS u
             WHERE NOT EXISTS (SELECT FROM \(organization.qualified("usersettings")) AS s WHERE s.systemuserid = u.systemuserid)
            """)
        for row in users {
            let user: UUID = try row.decode(0)
            let origin = NewRecord.Origin(organization: organization, user: user, businessUnit: try row.decode(1))
            try NewRecord(.userSettings, id: user, [:], origin: origin).insert(into: organization, by: caller, on: connection)
        }
    }

    private func restore(_ guards: SuspendedGuards, on connection: isolated PostgresConnection) throws {
        do {
            try guards.restore(on: connection)
        } catch let error as PostgresError where error.kind == .server {
            throw FieldsealError(
                .invalidArgument,
                "Rows of \(error.table ?? "a table") refer to records that are not there (\(error.constraint ?? error.sqlState)). "
                    + "Nothing was changed. Insert those records or delete the rows, and try again.")
        }
    }

    /// Sets the organization's version counter above the copied versions.
    private func goOn(_ organization: Organization, _ copies: [Copy], on connection: isolated PostgresConnection) throws {
        let versioned = copies.filter { $0.columns.contains("versionnumber") }
            .map { "SELECT max(versionnumber) AS v FROM \(organization.qualified($0.table))" }
        if !versioned.isEmpty {
            _ = try connection.query(
                "SELECT setval($1::text::regclass, max(v)) FROM (\(versioned.joined(separator: " UNION ALL "))) AS m HAVING max(v) > 0",
                [.text(organization.qualified("version_number"))])
        }
    }

    private func organizationID(on connection: isolated PostgresConnection) throws -> UUID? {
        guard try columns(of: "organization", in: old, on: connection).keys.contains("organizationid") else { return nil }
        return try connection.query("SELECT organizationid::uuid FROM \(quoteIdentifier(old)).organization LIMIT 1").first?.decode(
            0)
    }

    private func columns(
        of table: String,
        in schema: String,
        on connection: isolated PostgresConnection
    ) throws -> [String: String] {
        let rows = try connection.query(
            """
            SELECT a.attname::text, format_type(a.atttypid, a.atttypmod) FROM pg_attribute AS a
             WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
            """, [.text("\(quoteIdentifier(schema)).\(quoteIdentifier(table))")])
        return try rows.reduce(into: [:]) { $0[try $1.decode(0, as: String.self)] = try $1.decode(1, as: String.self) }
    }

    private struct Copy {
        let table: String
        let count: Int
        /// The old columns whose values were copied into new columns or into cells.
        let columns: Set<String>
    }

    /// Copies a table's rows in the columns that the new table has too.
    private func copy(
        _ table: String,
        _ sealed: [String],
        to organization: Organization,
        on connection: isolated PostgresConnection
    ) throws -> Copy {
        let theirs = try columns(of: table, in: old, on: connection)
        let ours = try columns(of: table, in: schema, on: connection)
        let allFlags = EntityCatalog.withCells.first { $0.logicalName == table }?.isSetColumns ?? [:]
        let isSetColumns = allFlags.filter { sealed.contains($0.key) }
        // A flag says whether there is a cell. The flag is computed from the old value, and not copied from the old table.
        let flags = Set(allFlags.values)
        var names: [String] = []
        var values: [String] = []
        let common = ours.filter { theirs[$0.key] != nil && !flags.contains($0.key) }.sorted { $0.key < $1.key }
        for (name, type) in common {
            names.append(quoteIdentifier(name))
            values.append("\(quoteIdentifier(name))::\(type)")
        }
        for (attribute, flag) in isSetColumns.sorted(by: { $0.key < $1.key }) {
            names.append(quoteIdentifier(flag))
            values.append("coalesce(\(quoteIdentifier(attribute)), '') <> ''")
        }
        guard !names.isEmpty else { return Copy(table: table, count: 0, columns: []) }
        for (name, type) in common { try requireExact(table, name, theirs[name] ?? type, type, on: connection) }
        do {
            let inserted = try connection.query(
                """
                INSERT INTO \(organization.qualified(table)) (\(names.joined(separator: ", ")))
                SELECT \(values.joined(separator: ", ")) FROM \(quoteIdentifier(old)).\(quoteIdentifier(table))
                """)
            return Copy(
                table: table, count: inserted.affectedRows,
                columns: Set(common.map(\.key)).union(sealed).union(flags))
        } catch let error as PostgresError where error.kind == .server {
            let place = error.column.map { ", column \($0)" } ?? error.constraint.map { ", \($0)" } ?? ""
            throw FieldsealError(
                .invalidArgument,
                "A row of \(table) does not fit the program's table [\(error.sqlState)\(place)]. Nothing was changed. "
                    + "Correct the values, and try again.")
        }
    }
}
