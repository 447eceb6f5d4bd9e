import CellCrypto
import Foundation
import Migrations
import PostgresClient

/// What sealing an organization's plaintext did, or would do.
public struct PlaintextUpgradeSummary: Sendable {
    public let organization: Organization
    /// Records that were taken over, by table.
    public let records: [(table: String, count: Int)]
    public let cells: Int
    public let duration: Duration
    /// The values themselves, to look for what is left of them.
    public let plaintexts: PlaintextScan
}

extension OrganizationRegistry {
    /// Makes an organization of a schema whose tables keep passwords in `text` columns: its rows go to new tables, its passwords
    /// into cells under a generated key, and the old tables with their files are dropped. One transaction.
    ///
    /// - Parameter isRehearsal: Whether all of it is rolled back at the end.
    /// - Throws: ``FieldsealError`` when there is no such schema, or it has no such column, or has cells already.
    public func upgradeFromPlaintext(name: String, isRehearsal: Bool, by caller: Caller) async throws -> PlaintextUpgradeSummary {
        guard Organization.isName(name) else {
            throw FieldsealError(.invalidArgument, "\(name.quotedForMessage) is not an organization's name.")
        }
        let upgrade = PlaintextUpgrade(name: name, registry: self, caller: caller)
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

    /// Rewrites what PostgreSQL knows of the dropped columns' values (`pg_statistic` holds common ones), and writes all to disk.
    ///
    /// - Returns: The folders of the database's files and of its WAL; nil when the role may not do that.
    public func settleFiles() async throws -> (data: String, log: String)? {
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

/// The steps of one upgrade, inside its transaction.
private struct PlaintextUpgrade: Sendable {
    let name: String
    let registry: OrganizationRegistry
    let caller: Caller

    private var schema: String { Organization.schema(of: name) }
    private var old: String { "\(schema)__plaintext" }
    /// Rows that are read and sealed at a time.
    private static let batch = 2_000
    /// In the order of their references.
    private static let references = ["organization", "businessunit", "transactioncurrency", "systemuser", "team", "role"]

    func run(on connection: isolated PostgresConnection) throws -> PlaintextUpgradeSummary {
        let start = ContinuousClock.now
        let columns = try plaintextColumns(on: connection)
        try putAside(columns.keys.sorted(), on: connection)
        let organization = Organization(id: try organizationID(on: connection) ?? UUID(), name: name)
        try connection.execute("CREATE SCHEMA \(quoteIdentifier(schema))")
        try registry.register(organization, by: caller, on: connection)
        try MigrationRunner.applyAll(
            to: .organization(id: organization.id, name: name, schema: schema), on: connection)
        try connection.execute("UPDATE \(organization.qualified("audit_setting")) SET is_enabled = false")
        var records: [(String, Int)] = []
        for table in Self.references { try copy(table, setFlags: [:], to: organization, &records, on: connection) }
        try registry.seed(organization, on: connection)
        for entity in EntityCatalog.withCells {
            let flags = entity.setFlags.filter { columns[entity.logicalName]?.contains($0.key) == true }
            try copy(entity.logicalName, setFlags: flags, to: organization, &records, on: connection)
        }
        try connection.execute("UPDATE \(organization.qualified("audit_setting")) SET is_enabled = true")
        let (cells, scan, key) = try seal(columns, organization, on: connection)
        try registry.attest(organization, keys: [key], on: connection)
        try MailDestination.authorizeAll(in: organization, under: registry.kek, on: connection)
        try SecurityEvent(.organizationUpgraded, .succeeded, keyVersion: 1, details: "\(cells) cells")
            .insert(for: organization, by: caller, under: registry.kek, on: connection)
        // Its files go with the commit.
        try connection.execute("SET LOCAL ROLE NONE; DROP SCHEMA \(quoteIdentifier(old)) CASCADE")
        return PlaintextUpgradeSummary(
            organization: organization, records: records, cells: cells, duration: .now - start, plaintexts: scan)
    }

    /// The `text` columns that have the names of encrypted attributes, by table.
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

    /// Locks the old tables, and moves them out of the way of the new ones.
    private func putAside(_ tables: [String], on connection: isolated PostgresConnection) throws {
        let names = tables.map { "\(quoteIdentifier(schema)).\(quoteIdentifier($0))" }.joined(separator: ", ")
        try connection.execute("LOCK TABLE \(names) IN ACCESS EXCLUSIVE MODE")
        try connection.execute(
            """
            ALTER SCHEMA \(quoteIdentifier(schema)) RENAME TO \(quoteIdentifier(old));
            GRANT USAGE ON SCHEMA \(quoteIdentifier(old)) TO fieldseal_owner;
            GRANT SELECT ON ALL TABLES IN SCHEMA \(quoteIdentifier(old)) TO fieldseal_owner;
            SET LOCAL ROLE fieldseal_owner;
            """)
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

    /// Takes over a table's rows in the columns that the new one has too.
    private func copy(
        _ table: String,
        setFlags: [String: String],
        to organization: Organization,
        _ records: inout [(String, Int)],
        on connection: isolated PostgresConnection
    ) throws {
        let theirs = try columns(of: table, in: old, on: connection)
        guard !theirs.isEmpty else { return }
        let ours = try columns(of: table, in: schema, on: connection)
        let flags = Set(setFlags.values)
        var names: [String] = []
        var values: [String] = []
        for (name, type) in ours.sorted(by: { $0.key < $1.key }) where theirs[name] != nil && !flags.contains(name) {
            names.append(quoteIdentifier(name))
            values.append("\(quoteIdentifier(name))::\(type)")
        }
        for (attribute, flag) in setFlags.sorted(by: { $0.key < $1.key }) {
            names.append(quoteIdentifier(flag))
            values.append("coalesce(\(quoteIdentifier(attribute)), '') <> ''")
        }
        let inserted = try connection.query(
            """
            INSERT INTO \(organization.qualified(table)) (\(names.joined(separator: ", ")))
            SELECT \(values.joined(separator: ", ")) FROM \(quoteIdentifier(old)).\(quoteIdentifier(table))
            """)
        records.append((table, inserted.affectedRows))
    }

    /// Seals every value under a generated key, into a first generation.
    private func seal(
        _ columns: [String: [String]],
        _ organization: Organization,
        on connection: isolated PostgresConnection
    ) throws -> (cells: Int, PlaintextScan, key: Grant) {
        let key = try NewKey(OrganizationKeyText.generate(), of: organization, version: 1, policy: registry.policy)
        let cipher = try key.data.makeCipher()
        var scan = PlaintextScan()
        var cells = 0
        _ = try connection.query("SELECT \(organization.qualified("create_generation"))(1)")
        for entity in EntityCatalog.withCells {
            guard let attributes = columns[entity.logicalName] else { continue }
            let names = attributes.map(quoteIdentifier)
            // Each its own name: a statement that is prepared for one does not fit the next.
            let cursor = "\(entity.logicalName)_plaintext"
            try connection.execute(
                """
                DECLARE \(cursor) NO SCROLL CURSOR FOR
                SELECT \(entity.idColumn)::uuid, \(names.map { "nullif(\($0)::text, '')" }.joined(separator: ", "))
                  FROM \(quoteIdentifier(old)).\(quoteIdentifier(entity.logicalName))
                 WHERE \(names.map { "coalesce(\($0), '') <> ''" }.joined(separator: " OR "))
                """)
            while true {
                let rows = try connection.query("FETCH \(Self.batch) FROM \(cursor)")
                if rows.isEmpty { break }
                var output = CellCopy.header
                for row in rows {
                    let id: UUID = try row.decode(0)
                    output.append(bigEndian: Int16(attributes.count + 2))
                    output.append(bigEndian: Int32(4))
                    output.append(bigEndian: Int32(1))
                    output.append(bigEndian: Int32(16))
                    withUnsafeBytes(of: id.uuid) { output.append(contentsOf: $0) }
                    for (index, attribute) in attributes.enumerated() {
                        guard !row.isNull(index + 1) else {
                            output.append(bigEndian: Int32(-1))
                            continue
                        }
                        try row.withBytes(index + 1) { plaintext in
                            let address = CellAddress(
                                organization: organization.id, record: id, attribute: entity.cellName(attribute))
                            var cell: [UInt8] = []
                            try cipher.seal(plaintext, at: address, keyVersion: 1, appendingTo: &cell)
                            output.append(bigEndian: Int32(cell.count))
                            output += cell
                            scan.add(Array(plaintext))
                        }
                        cells += 1
                    }
                }
                output += CellCopy.trailer
                let target = organization.qualified("\(entity.cellTable)_k1")
                try connection.copyIn(
                    "COPY \(target) (key_version, \(([entity.idColumn] + names).joined(separator: ", "))) FROM STDIN (FORMAT binary)"
                ) { write in try output.withUnsafeBytes { try write($0) } }
            }
            try connection.execute("CLOSE \(cursor)")
        }
        _ = try connection.query("SELECT \(organization.qualified("finish_generation"))(1)")
        let grant = try key.establish(origin: "generated", under: registry.kek, by: caller, on: connection)
        return (cells, scan, grant)
    }
}
