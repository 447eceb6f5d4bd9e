import CellCrypto
import Foundation
import Model
import PostgresClient
import Tenancy

/// Loads the rows of an export into a schema that the program's own migrations made, at the schema version of the export.
struct DumpLoader: Sendable {
    let organization: Organization
    let manifest: ExportManifest
    /// Tables, and columns written as `table.column`, that this program does not know and that are left out on purpose.
    let discards: Set<String>

    /// Tables whose rows are not loaded: the program fills them itself, or they have no meaning outside of a key change.
    private static let passedOver: Set = ["migration", "cell_change"]
    /// A table that holds the row of `encryption` until it is checked.
    private var staged: String { organization.qualified("imported_encryption") }
    /// The greatest value that a loaded sequence may have. This limit leaves enough numbers for later use.
    private static let sequenceLimit = Int64.max / 2

    /// Loads everything. The generation of the export's key version must exist and be empty.
    func load(_ reader: DumpReader, on connection: isolated PostgresConnection) throws {
        let known = try columns(on: connection)
        try connection.execute("CREATE TABLE \(staged) (LIKE \(organization.qualified("encryption")))")
        // The migrations inserted rows into this table. The file has these rows too, with later changes, so they are deleted first.
        if known["audit_setting"] != nil { try connection.execute("DELETE FROM \(organization.qualified("audit_setting"))") }
        var seen: Set<String> = []
        while let item = try reader.next() {
            switch item {
            case .rows(let table, let columns):
                guard seen.insert(table).inserted else { throw DumpReader.refusal("it has the rows of \(table) twice.") }
                try rows(of: table, columns, known, reader, on: connection)
            case .sequence(let name, let value, let isCalled):
                try set(name, value, isCalled, on: connection)
            }
        }
        guard seen.contains("encryption") else {
            throw DumpReader.refusal("it lacks the table encryption, without which its cells can't be opened.")
        }
        if let moment = try UnreadableMoment.find(in: organization, limit: 1, on: connection).first {
            let table = organization.qualified(moment.table) == staged ? "encryption" : moment.table
            throw DumpReader.refusal(
                "\(moment.column) of the row \(moment.row) of its table \(table) is infinite, or outside of the years 1 to 9999, so "
                    + "clients could not read it. Correct the value in the original organization, and export it again.")
        }
    }

    /// The columns of each table that may be loaded.
    private func columns(on connection: isolated PostgresConnection) throws -> [String: Set<String>] {
        let rows = try connection.query(
            """
            SELECT c.relname::text, a.attname::text FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
             WHERE c.oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace")) AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
               AND a.attgenerated = ''
            """, [.text(quoteIdentifier(organization.schema))])
        return try rows.reduce(into: [:]) { try $0[$1.decode(0), default: []].insert($1.decode(1)) }
    }

    private func rows(
        of table: String,
        _ columns: [String],
        _ known: [String: Set<String>],
        _ reader: DumpReader,
        on connection: isolated PostgresConnection
    ) throws {
        if Self.passedOver.contains(table) || isOtherGeneration(table) || discards.contains(table) && known[table] == nil {
            try reader.rows { _ in }
            return
        }
        guard let mine = known[table] else {
            throw DumpReader.refusal(
                "it has rows of the table \(table.quotedForMessage), which this program does not know. "
                    + "To import it without them: --discard \(table)")
        }
        guard Set(columns).count == columns.count else { throw DumpReader.refusal("a column of \(table) is named twice.") }
        let keeping = try columns.map { column in
            if mine.contains(column) { return true }
            guard discards.contains("\(table).\(column)") else {
                throw DumpReader.refusal(
                    "its table \(table) has the column \(column.quotedForMessage), which this program does not know. "
                        + "To import it without that column: --discard \(table).\(column)")
            }
            return false
        }
        let names = zip(columns, keeping).compactMap { $1 ? quoteIdentifier($0) : nil }
        guard !names.isEmpty else { throw DumpReader.refusal("this program knows no column of its table \(table).") }
        let target = table == "encryption" ? staged : organization.qualified(table)
        do {
            try connection.copyIn("COPY \(target) (\(names.joined(separator: ", "))) FROM STDIN") { write in
                try reader.rows(keeping: keeping.contains(false) ? keeping : nil, write)
            }
        } catch let error as PostgresError where error.kind == .server {
            throw Self.refused(table, error)
        }
    }

    /// Whether a table is a generation of cells under another key than the export's, which was about to be dropped at the time of
    /// the dump.
    private func isOtherGeneration(_ table: String) -> Bool {
        EntityCatalog.withCells.contains { entity in
            table.hasPrefix("\(entity.cellTable)_k")
                && Int(table.dropFirst(entity.cellTable.count + 2)).map { $0 != manifest.keyVersion } ?? false
        }
    }

    private func set(_ name: String, _ value: Int64, _ isCalled: Bool, on connection: isolated PostgresConnection) throws {
        let sequence = organization.qualified(name)
        let isKnown = try connection.query(
            "SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass($1) AND relkind = 'S')", [.text(sequence)])
        guard try isKnown[0].decode(0) else {
            if discards.contains(name) { return }
            throw DumpReader.refusal(
                "it has the sequence \(name.quotedForMessage), which this program does not know. To import the file without the "
                    + "sequence: --discard \(name)"
            )
        }
        guard (1...Self.sequenceLimit).contains(value) else {
            throw DumpReader.refusal("its sequence \(name) has the value \(value), which is not allowed.")
        }
        _ = try connection.query("SELECT setval($1::text::regclass, $2, $3)", [.text(sequence), .int64(value), .bool(isCalled)])
    }

    /// PostgreSQL's error about rows, without their values.
    static func refused(_ table: String, _ error: PostgresError) -> FieldsealError {
        let place = error.constraint.map { " They break the rule \($0)." } ?? error.column.map { " It is the column \($0)." } ?? ""
        return DumpReader.refusal("the database rejects its rows of \(table) [\(error.sqlState)].\(place)")
    }

    // MARK: Checks

    /// The row of `encryption`, which must match the manifest.
    struct Encryption: Sendable {
        let changeID: UUID
        let changedOn: Date
    }

    /// Checks the loaded rows against the manifest and against each other.
    func checked(on connection: isolated PostgresConnection) throws -> Encryption {
        let rows = try connection.query(
            """
            SELECT organization_id, key_version, salt, iterations, key_check, fingerprint, rotation_id, changed_on FROM \(staged)
             WHERE num_nulls(organization_id, key_version, salt, iterations, key_check, fingerprint, rotation_id, changed_on) = 0
            """)
        guard rows.count == 1, let row = rows.first,
            try row.decode(0) == manifest.organizationID, try row.decode(1) == manifest.keyVersion,
            try row.decode(2, as: PostgresBytes.self).bytes == manifest.salt, try row.decode(3) == manifest.iterations,
            try row.decode(4, as: PostgresBytes.self).bytes == manifest.keyCheck, try row.decode(5) == manifest.fingerprint
        else { throw DumpReader.refusal("its row of the table encryption does not match its manifest.") }
        let foreign = try connection.query(
            "SELECT count(*) FROM \(organization.qualified("organization")) WHERE organizationid <> $1",
            [.uuid(manifest.organizationID)])
        guard try foreign[0].decode(0) == 0 else {
            throw DumpReader.refusal("its table organization has a row of another organization.")
        }
        for entity in EntityCatalog.withCells { try check(entity, on: connection) }
        try connection.execute("DROP TABLE \(staged)")
        return Encryption(changeID: try row.decode(6), changedOn: try row.decode(7))
    }

    private func check(_ entity: EntityDefinition, on connection: isolated PostgresConnection) throws {
        let partition = organization.qualified("\(entity.cellTable)_k\(manifest.keyVersion)")
        let counts = entity.encryptedAttributes.map { "count(\(quoteIdentifier($0.logicalName)))" }.joined(separator: ", ")
        let row = try connection.query(
            """
            SELECT count(*) FILTER (WHERE NOT EXISTS (SELECT FROM \(organization.qualified(entity.logicalName)) AS r
                       WHERE r.\(entity.idColumn) = l.\(entity.idColumn))), \(counts) FROM \(partition) AS l
            """)[0]
        let orphans: Int = try row.decode(0)
        guard orphans == 0 else { throw DumpReader.refusal("\(orphans) cells of its \(entity.logicalName) have no record.") }
        for (index, attribute) in entity.encryptedAttributes.enumerated() {
            let name = entity.cellName(attribute.logicalName)
            let count: Int = try row.decode(index + 1)
            guard count == manifest.cells[name, default: 0] else {
                throw DumpReader.refusal(
                    "it has \(count) cells of \(name), and its manifest says \(manifest.cells[name, default: 0]).")
            }
        }
    }
}
