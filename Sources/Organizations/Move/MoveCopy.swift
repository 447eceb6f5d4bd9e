import Foundation
import Migrations
import Model
import PostgresClient
import SystemPackage
import Tenancy

/// Copies an organization between two open transactions, and compares both sides.
final class MoveCopy: Sendable {
    private struct Table: Sendable, Equatable {
        let name: String
        /// The columns in SQL, in the order of their names, because their order in the tables may differ.
        let columns: String
    }

    let organization: Organization
    private let source: OrganizationMove.Place
    private let target: OrganizationMove.Place
    private let caller: Caller

    /// Tables that the program fills itself, or that have no meaning without a key change.
    private static let passedOver: Set = ["encryption", "migration", "cell_change"]
    /// Settings for equal text forms of values on both sides.
    private static let formats =
        "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'postgres'; SET LOCAL bytea_output = 'hex'; "
        + "SET LOCAL extra_float_digits = 1"
    private static let bufferSize = 1 << 16

    init(_ organization: Organization, source: OrganizationMove.Place, target: OrganizationMove.Place, caller: Caller) {
        (self.organization, self.source, self.target, self.caller) = (organization, source, target, caller)
    }

    /// Creates the empty schema with the same version.
    func prepare(_ from: PostgresConnection, _ to: PostgresConnection) async throws {
        let rows = try await from.run { (connection: isolated PostgresConnection) throws -> [String] in
            try connection.execute(Self.formats)
            let version = try connection.query(
                "SELECT schema_version FROM config.organization WHERE organization_id = $1", [.uuid(organization.id)])[0]
            guard try version.decodeIfPresent(0, as: String.self) == MigrationCatalog.migrations(.organization).last?.name else {
                throw OrganizationMove.refusal("\(organization.name) is not at this program's version: fieldseal migrate up.")
            }
            return try ConfigRows.read(ConfigRows.first, of: organization, on: connection)
        }
        let version = try await keyVersion(from)
        try await to.run { [self] connection in
            try connection.execute(Self.formats)
            try ConfigRows.insert(rows, ConfigRows.first, on: connection)
            try connection.execute("CREATE SCHEMA \(quoteIdentifier(organization.schema))")
            try MigrationRunner.applyAll(
                to: .organization(id: organization.id, name: organization.name, schema: organization.schema), on: connection)
            try connection.execute("SET LOCAL fieldseal.maintenance = 'on'")
            _ = try connection.query("SELECT \(organization.qualified("create_generation"))($1)", [.int32(Int32(version))])
            try connection.execute("DELETE FROM \(organization.qualified("audit_setting"))")
        }
    }

    /// Copies all rows and compares them. Writers of the source wait meanwhile.
    ///
    /// - Returns: The number of tables, and of rows.
    func run(
        _ from: PostgresConnection, _ to: PostgresConnection, _ onProgress: @Sendable (String) -> Void
    ) async throws -> (tables: Int, rows: Int) {
        let version = try await keyVersion(from)
        let tables = try await to.run { [self] in try self.tables(version, on: $0) }
        let own = try await from.run { [self] in try self.tables(version, on: $0) }
        guard tables == own else {
            let differing = Set(tables.map(\.name)).symmetricDifference(own.map(\.name)).sorted()
            throw OrganizationMove.refusal(
                "The tables of \(organization.name) are not those that this program makes"
                    + (differing.isEmpty ? "" : " (\(differing.joined(separator: ", ")))")
                    + ": fieldseal doctor --org \(organization.name).")
        }
        let guards = try await to.run { [self] in try SuspendedGuards(in: organization.schema, on: $0) }
        var rows = 0
        for table in tables {
            let count = try await copy(table, from, to)
            rows += count
            if count > 0 { onProgress("\(table.name): \(count)") }
        }
        try await to.run { try guards.restore(on: $0) }
        try await adopt(version, from, to)
        try await compare(tables + [Table(name: "encryption", columns: Self.keyColumns.joined(separator: ", "))], from, to)
        let config = try await from.run { [self] in try ConfigRows.read(ConfigRows.rest, of: organization, on: $0) }
        try await to.run { connection in
            try ConfigRows.insert(config, ConfigRows.rest, on: connection)
            try ConfigRows.requireComplete(on: connection)
        }
        return (tables.count, rows)
    }

    private func keyVersion(_ connection: PostgresConnection) async throws -> Int {
        try await connection.run { [self] in
            try $0.query("SELECT key_version FROM \(organization.qualified("encryption"))")[0].decode(0)
        }
    }

    /// The tables with rows, except old generations of cells, which are about to be dropped.
    private func tables(_ version: Int, on connection: isolated PostgresConnection) throws -> [Table] {
        try connection.query(
            """
            SELECT c.relname::text, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname COLLATE "C")
              FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
             WHERE c.relnamespace = $1::text::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
               AND a.attgenerated = '' AND NOT (c.relname ~ '_cell_k[0-9]+$' AND c.relname !~ ('_cell_k' || $2 || '$'))
             GROUP BY c.relname ORDER BY c.relname COLLATE "C"
            """, [.text(quoteIdentifier(organization.schema)), .text("\(version)")]
        ).map { Table(name: try $0.decode(0), columns: try $0.decode(1)) }
            .filter { !Self.passedOver.contains($0.name) }
    }

    /// Streams a table's rows from one transaction into the other.
    private func copy(_ table: Table, _ from: PostgresConnection, _ to: PostgresConnection) async throws -> Int {
        let name = "\(organization.qualified(table.name)) (\(table.columns))"
        let (output, input) = try FileDescriptor.pipe()
        async let sent = from.run { (connection: isolated PostgresConnection) throws -> Int in
            // Closed in any case, because the reader would wait for more.
            defer { try? input.close() }
            return try connection.copyOut("COPY \(name) TO STDOUT (FORMAT binary)") { _ = try input.writeAll($0) }
        }
        async let taken = to.run { (connection: isolated PostgresConnection) throws -> Int in
            defer { try? output.close() }
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.bufferSize, alignment: 1)
            defer { buffer.deallocate() }
            return try connection.copyIn("COPY \(name) FROM STDIN (FORMAT binary)") { write in
                while true {
                    let count = try output.read(into: buffer)
                    if count == 0 { return }
                    try write(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                }
            }
        }
        let arrived: Result<Int, any Error>
        do { arrived = .success(try await taken) } catch { arrived = .failure(error) }
        let left: Int
        do {
            left = try await sent
        } catch Errno.brokenPipe {
            // The other side has the reason.
            _ = try arrived.get()
            throw Errno.brokenPipe
        }
        guard try arrived.get() == left else {
            throw FieldsealError(
                .unexpected, "\(left) rows of \(table.name) left, and another number arrived. Nothing was changed.")
        }
        return left
    }

    private static let keyColumns = [
        "organization_id", "key_version", "salt", "iterations", "key_check", "fingerprint", "rotation_id", "changed_on",
    ]

    /// Makes the generation the current one for its key, and sets the sequences.
    private func adopt(_ version: Int, _ from: PostgresConnection, _ to: PostgresConnection) async throws {
        // The time as text, so that nothing is rounded.
        let columns = Self.keyColumns.joined(separator: ", ").replacing("changed_on", with: "changed_on::text")
        typealias Sequences = [(name: String, value: Int, isCalled: Bool)]
        let (key, sequences) = try await from.run {
            (connection: isolated PostgresConnection) throws -> ([PostgresParameter], Sequences) in
            let key = try connection.query("SELECT \(columns) FROM \(organization.qualified("encryption"))")[0]
            let names = try connection.query(
                "SELECT relname::text FROM pg_class WHERE relnamespace = $1::text::regnamespace AND relkind = 'S'",
                [.text(quoteIdentifier(organization.schema))])
            let sequences = try names.map { row -> (name: String, value: Int, isCalled: Bool) in
                let name: String = try row.decode(0)
                let state = try connection.query("SELECT last_value, is_called FROM \(organization.qualified(name))")[0]
                return (name, try state.decode(0), try state.decode(1))
            }
            let values: [PostgresParameter] = [
                .bytes(try key.decode(2, as: PostgresBytes.self).bytes), .int32(Int32(try key.decode(3, as: Int.self))),
                .bytes(try key.decode(4, as: PostgresBytes.self).bytes), .text(try key.decode(5, as: String.self)),
                .uuid(try key.decode(6, as: UUID.self)), .uuid(try key.decode(0, as: UUID.self)),
                .text(try key.decode(7, as: String.self)),
            ]
            return (values, sequences)
        }
        try await to.run { [self] connection in
            for (name, value, isCalled) in sequences {
                _ = try connection.query(
                    "SELECT setval($1::text::regclass, $2, $3)",
                    [.text(organization.qualified(name)), .int64(Int64(value)), .bool(isCalled)])
            }
            let number = PostgresParameter.int32(Int32(version))
            _ = try connection.query("SELECT \(organization.qualified("finish_generation"))($1)", [number])
            _ = try connection.query(
                "SELECT \(organization.qualified("switch_generation"))($1, $2, $3, $4, $5, $6, $7)", [number] + key.prefix(6))
            // The age of the key does not change.
            let guards = try SuspendedGuards(in: organization.schema, table: "encryption", on: connection)
            _ = try connection.query(
                "UPDATE \(organization.qualified("encryption")) SET changed_on = $1::text::timestamptz", [key[6]])
            try guards.restore(on: connection)
        }
    }

    /// Compares the number of rows on both sides, and the sum of their hashes.
    ///
    /// - Throws: ``FieldsealError`` naming the table that differs.
    private func compare(_ tables: [Table], _ from: PostgresConnection, _ to: PostgresConnection) async throws {
        let sql = tables.map { table in
            """
            SELECT '\(table.name)', count(*), coalesce(sum(hashtextextended(ROW(\(table.columns))::text, 0)::numeric), 0)::text
              FROM \(organization.qualified(table.name))
            """
        }.joined(separator: " UNION ALL ")
        async let original = from.run { try Self.sums(sql, on: $0) }
        async let copied = to.run { try Self.sums(sql, on: $0) }
        let (first, second) = try await (original, copied)
        guard let differing = first.first(where: { second[$0.key] != $0.value })?.key else { return }
        throw FieldsealError(
            .unexpected,
            "The copy of \(differing) is not what it was copied from. Nothing was changed. Compare the versions of both servers.")
    }

    private static func sums(_ sql: String, on connection: isolated PostgresConnection) throws -> [String: String] {
        try connection.query(sql).reduce(into: [:]) { sums, row in
            sums[try row.decode(0, as: String.self)] = "\(try row.decode(1, as: Int.self)) \(try row.decode(2, as: String.self))"
        }
    }
}
