import PostgresClient
import Tenancy

/// Copies the rows that were written while an organization was copied, in rounds.
///
/// A round reads the journal's notes and the rows in one snapshot, so after each round the copy equals the original at one
/// moment. The last round runs while writers wait.
struct MoveCatchUp: Sendable {
    let organization: Organization
    let journal: MoveJournal
    let tables: [MoveTable]

    /// A round looks up single rows by their keys, so scans are off. Without scans the estimated costs are high, which must not
    /// start JIT compilation.
    private static let planner =
        "SET LOCAL jit = off; SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"

    init(of organization: Organization, _ journal: MoveJournal, _ tables: [MoveTable]) {
        (self.organization, self.journal, self.tables) = (organization, journal, tables)
    }

    /// Creates the schema that holds a round's rows in the target database. The schema is dropped in the same transaction, so no
    /// other session sees it.
    func prepare(_ to: PostgresConnection) async throws -> DeferredGuards {
        try await to.run { connection in
            try connection.execute("CREATE SCHEMA \(quoteIdentifier(journal.schema)); \(Self.planner)")
            return try DeferredGuards(in: organization.schema, on: connection)
        }
    }

    /// Drops the schema that ``prepare(_:)`` created, and restores the guards.
    func end(_ guards: DeferredGuards, _ to: PostgresConnection) async throws {
        try await to.run { connection in
            try guards.restore(on: connection)
            try journal.drop(on: connection)
        }
    }

    /// Runs one round in the open transactions, and deletes the notes that it read.
    ///
    /// - Returns: The number of notes. A row that was written several times has several notes.
    func run(_ from: PostgresConnection, _ to: PostgresConnection) async throws -> Int {
        let noted = try await from.run { connection -> [(table: MoveTable, notes: Int)] in
            try connection.execute("\(Self.planner); \(MoveComparison.formats)")
            return try notes(on: connection)
        }
        guard !noted.isEmpty else { return 0 }
        let changed = noted.map(\.table)
        for table in changed {
            try await to.run { try $0.execute(staging(of: table)) }
            _ = try await MoveStream.copy(
                of: table.name, "(SELECT DISTINCT \(table.keyList) FROM \(journal.qualified(table.name)))", from,
                into: "\(journal.qualified(table.name)) (\(table.keyList))", to)
            _ = try await MoveStream.copy(
                of: table.name, "(SELECT \(table.columnList) FROM \(source(of: table)))", from,
                into: "\(staged(table)) (\(table.columnList))", to)
        }
        try await to.run { connection in
            // Deletions come first: foreign keys delete dependent rows too, and the rows that still exist are written
            // afterwards.
            for table in changed { try connection.execute(deletion(in: table)) }
            for table in changed { try connection.execute(upsert(in: table)) }
            try DeferredGuards.check(on: connection)
        }
        try await MoveComparison.run(
            changed.map { .init(table: $0.name, columns: $0.columnList, source: source(of: $0)) }, from, to)
        try await to.run { connection in
            try connection.execute(
                "DROP TABLE \(changed.map { "\(journal.qualified($0.name)), \(staged($0))" }.joined(separator: ", "))")
        }
        try await from.run { connection in
            try connection.execute(changed.map { "DELETE FROM \(journal.qualified($0.name))" }.joined(separator: "; "))
        }
        return noted.reduce(0) { $0 + $1.notes }
    }

    /// The tables with notes.
    private func notes(on connection: isolated PostgresConnection) throws -> [(table: MoveTable, notes: Int)] {
        let counts = try connection.query(
            tables.enumerated().map { "SELECT \($0)::bigint, count(*) FROM \(journal.qualified($1.name))" }
                .joined(separator: " UNION ALL "))
        return try counts.map { (table: tables[try $0.decode(0)], notes: try $0.decode(1)) }.filter { $0.notes > 0 }
    }

    // MARK: SQL

    /// The SQL after `FROM` for the present contents of the noted rows. This SQL is the same in both databases.
    private func source(of table: MoveTable) -> String {
        """
        (SELECT DISTINCT \(table.keyList) FROM \(journal.qualified(table.name))) AS n
          JOIN \(organization.qualified(table.name)) AS r USING (\(table.keyList))
        """
    }

    private func staged(_ table: MoveTable) -> String { journal.qualified("\(table.name) rows") }

    /// Creates tables for the keys and the rows of one round.
    private func staging(of table: MoveTable) -> String {
        let (original, keys, rows) = (organization.qualified(table.name), journal.qualified(table.name), staged(table))
        return """
            CREATE UNLOGGED TABLE \(keys) AS SELECT \(table.keyList) FROM \(original) WITH NO DATA;
            ALTER TABLE \(keys) ADD PRIMARY KEY (\(table.keyList));
            CREATE UNLOGGED TABLE \(rows) AS SELECT \(table.columnList) FROM \(original) WITH NO DATA;
            ALTER TABLE \(rows) ADD PRIMARY KEY (\(table.keyList))
            """
    }

    private func deletion(in table: MoveTable) -> String {
        func same(_ one: String, _ other: String) -> String {
            table.keys.map { "\(one).\($0) = \(other).\($0)" }.joined(separator: " AND ")
        }
        return """
            DELETE FROM \(organization.qualified(table.name)) AS r USING \(journal.qualified(table.name)) AS n
             WHERE \(same("r", "n")) AND NOT EXISTS (SELECT FROM \(staged(table)) AS s WHERE \(same("s", "n")))
            """
    }

    private func upsert(in table: MoveTable) -> String {
        let values = table.columns.filter { !table.keys.contains($0) }.map { "\($0) = excluded.\($0)" }.joined(separator: ", ")
        return """
            INSERT INTO \(organization.qualified(table.name)) (\(table.columnList)) OVERRIDING SYSTEM VALUE
            SELECT \(table.columnList) FROM \(staged(table))
                ON CONFLICT (\(table.keyList)) DO \(values.isEmpty ? "NOTHING" : "UPDATE SET \(values)")
            """
    }
}
