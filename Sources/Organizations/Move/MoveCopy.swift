import Foundation
import KeyManagement
import Migrations
import Model
import PostgresClient
import Tenancy

/// Copies an organization between open transactions, and compares both sides.
final class MoveCopy: Sendable {
    let organization: Organization
    private let source: OrganizationMove.Place
    private let target: OrganizationMove.Place
    private let caller: Caller

    init(_ organization: Organization, source: OrganizationMove.Place, target: OrganizationMove.Place, caller: Caller) {
        (self.organization, self.source, self.target, self.caller) = (organization, source, target, caller)
    }

    /// Creates the empty schema at the target, with the source's version.
    func prepare(_ from: PostgresConnection, _ to: PostgresConnection) async throws {
        let rows = try await from.run { (connection: isolated PostgresConnection) throws -> [String] in
            try connection.execute(MoveComparison.formats)
            let version = try connection.query(
                "SELECT schema_version FROM config.organization WHERE organization_id = $1", [.uuid(organization.id)])[0]
            guard try version.decodeIfPresent(0, as: String.self) == MigrationCatalog.migrations(.organization).last?.name else {
                throw OrganizationMove.refusal("\(organization.name) is not at this program's version: fieldseal migrate up.")
            }
            return try ConfigRows.read(ConfigRows.first, of: organization, on: connection)
        }
        let version = try await keyVersion(from)
        try await to.run { [self] connection in
            try connection.execute(MoveComparison.formats)
            try ConfigRows.insert(rows, ConfigRows.first, on: connection)
            try connection.execute("CREATE SCHEMA \(quoteIdentifier(organization.schema))")
            try MigrationRunner.applyAll(
                to: .organization(id: organization.id, name: organization.name, schema: organization.schema), on: connection)
            try connection.execute("SET LOCAL fieldseal.maintenance = 'on'")
            _ = try connection.query("SELECT \(organization.qualified("create_generation"))($1)", [.int32(Int32(version))])
            try connection.execute("DELETE FROM \(organization.qualified("audit_setting"))")
        }
    }

    /// The tables whose rows are moved.
    ///
    /// - Throws: ``FieldsealError`` when the source's tables differ from the tables that this program creates.
    func tables(_ from: PostgresConnection, _ to: PostgresConnection) async throws -> [MoveTable] {
        let version = try await keyVersion(from)
        let made = try await to.run { [self] in try MoveTable.list(of: organization, keyVersion: version, on: $0) }
        let own = try await from.run { [self] in try MoveTable.list(of: organization, keyVersion: version, on: $0) }
        // Primary keys are not compared, because a generation gets its primary key only when it is filled.
        func shapes(_ tables: [MoveTable]) -> Set<[String]> { Set(tables.map { [$0.name] + $0.columns }) }
        let differing = Set(shapes(made).symmetricDifference(shapes(own)).compactMap(\.first))
            .union(own.filter(\.keys.isEmpty).map(\.name)).sorted()
        guard differing.isEmpty else {
            throw OrganizationMove.refusal(
                "The tables of \(organization.name) are not those that this program makes (\(differing.joined(separator: ", "))): "
                    + "fieldseal doctor --org \(organization.name).")
        }
        return own
    }

    /// Copies all rows from the snapshot of the source's open transaction, and compares both sides.
    ///
    /// - Returns: The number of rows.
    func run(
        _ tables: [MoveTable], _ from: PostgresConnection, _ to: PostgresConnection, _ onProgress: @Sendable (String) -> Void
    ) async throws -> Int {
        let guards = try await to.run { [self] in try SuspendedGuards(in: organization.schema, rowsAreUnique: true, on: $0) }
        var rows = 0
        for table in tables {
            let name = "\(organization.qualified(table.name)) (\(table.columnList))"
            let count = try await MoveStream.copy(of: table.name, name, from, into: name, to)
            rows += count
            if count > 0 { onProgress("\(table.name): \(count)") }
        }
        let compared =
            tables.map {
                MoveComparison.Rows(
                    table: $0.name, columns: $0.columnList, source: organization.qualified($0.name),
                    hasExactHashes: $0.hasExactHashes)
            } + [key]
        let (keyInForce, changedOn) = try await readKey(from)
        // The source is read while the target builds its indexes.
        async let original = MoveComparison.sums(of: compared, from)
        try await to.run { try guards.restore(on: $0) }
        try await adopt(keyInForce, setOn: changedOn, to)
        try await MoveComparison.requireEqual(original, MoveComparison.sums(of: compared, to))
        return rows
    }

    /// Copies what comes last: sequences and the rows of `config`. Compares the key in force.
    func conclude(_ from: PostgresConnection, _ to: PostgresConnection) async throws {
        let (config, sequences) = try await from.run { [self] connection in
            (try ConfigRows.read(ConfigRows.rest, of: organization, on: connection), try self.sequences(on: connection))
        }
        try await to.run { connection in
            if !sequences.isEmpty { _ = try connection.pipeline(sequences) }
            try ConfigRows.insert(config, ConfigRows.rest, on: connection)
            try ConfigRows.requireComplete(on: connection)
        }
        try await MoveComparison.run([key], from, to)
    }

    private static let keyColumns =
        "organization_id, key_version, salt, iterations, key_check, fingerprint, rotation_id, changed_on"

    /// The row that says which key is in force.
    private var key: MoveComparison.Rows {
        .init(
            table: "encryption", columns: Self.keyColumns, source: organization.qualified("encryption"))
    }

    /// The statements that set the copy's sequences to the source's values.
    private func sequences(on connection: isolated PostgresConnection) throws -> [(sql: String, parameters: [PostgresParameter])] {
        let names = try connection.query(
            """
            SELECT relname::text FROM pg_class
             WHERE oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace")) AND relkind = 'S'
            """,
            [.text(quoteIdentifier(organization.schema))]
        ).map { organization.qualified(try $0.decode(0)) }
        guard !names.isEmpty else { return [] }
        return try zip(names, connection.pipeline(names.map { ("SELECT last_value, is_called FROM \($0)", []) })).map {
            name, state in
            (
                "SELECT setval($1::text::regclass, $2, $3)",
                [.text(name), .int64(Int64(try state[0].decode(0, as: Int.self))), .bool(try state[0].decode(1))]
            )
        }
    }

    private func keyVersion(_ connection: PostgresConnection) async throws -> Int {
        try await connection.run { [self] in
            try $0.query("SELECT key_version FROM \(organization.qualified("encryption"))")[0].decode(0)
        }
    }

    /// The key in force, and when it was set.
    private func readKey(_ from: PostgresConnection) async throws -> (GenerationKey, String) {
        try await from.run { [self] connection in
            // The time is read as text, so that nothing is rounded.
            let row = try connection.query(
                """
                SELECT \(Self.keyColumns), changed_on::text AS changed_text FROM \(organization.qualified("encryption"))
                """)[0]
            let key = GenerationKey(
                version: try row.decode("key_version"), salt: try row.decode("salt", as: PostgresBytes.self).bytes,
                iterations: try row.decode("iterations"), keyCheck: try row.decode("key_check", as: PostgresBytes.self).bytes,
                fingerprint: try row.decode("fingerprint"), changeID: try row.decode("rotation_id"))
            return (key, try row.decode("changed_text"))
        }
    }

    /// Makes the copied generation the current one, and puts its key in force.
    private func adopt(_ key: GenerationKey, setOn changedOn: String, _ to: PostgresConnection) async throws {
        try await to.run { [self] connection in
            _ = try connection.query(
                "SELECT \(organization.qualified("finish_generation"))($1)", [.int32(Int32(key.version))])
            try key.putInForce(in: organization, on: connection)
            // The key keeps the time at which it was put in force in the source, so that its age does not change.
            let guards = try SuspendedGuards(in: organization.schema, table: "encryption", on: connection)
            _ = try connection.query(
                "UPDATE \(organization.qualified("encryption")) SET changed_on = $1::text::timestamptz", [.text(changedOn)])
            try guards.restore(on: connection)
        }
    }
}
