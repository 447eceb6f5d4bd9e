import Model
import PostgresClient

/// Compares rows of both databases by their number and the sum of their hashes.
enum MoveComparison {
    /// Rows that must be equal on both sides.
    struct Rows: Sendable {
        /// The name of the rows in messages.
        let table: String
        let columns: String
        /// The SQL after `FROM`, the same in both databases.
        let source: String
        /// Whether values with equal hashes have equal bytes.
        var hasExactHashes = false
    }

    /// Settings for the open transaction that make PostgreSQL write values the same way on both sides.
    static let formats =
        "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'postgres'; SET LOCAL bytea_output = 'hex'; "
        + "SET LOCAL extra_float_digits = 1"

    /// - Throws: ``FieldsealError`` that names a table that differs.
    static func run(_ rows: [Rows], _ from: PostgresConnection, _ to: PostgresConnection) async throws {
        async let original = sums(of: rows, from)
        async let copied = sums(of: rows, to)
        try await requireEqual(original, copied)
    }

    /// - Throws: ``FieldsealError`` that names a table that differs.
    static func requireEqual(_ first: [String: String], _ second: [String: String]) throws {
        guard let differing = first.first(where: { second[$0.key] != $0.value })?.key else { return }
        throw FieldsealError(
            .unexpected,
            "The copy of \(differing) differs from the original. Nothing was changed. Compare the versions of both servers.")
    }

    /// The number of rows of each table, and the sum of their hashes. If hashes of the values are not exact, the bytes in which
    /// PostgreSQL sends a row are hashed instead.
    static func sums(of rows: [Rows], _ connection: PostgresConnection) async throws -> [String: String] {
        let sql = rows.map { rows in
            let row = rows.hasExactHashes ? rows.columns : "record_send(ROW(\(rows.columns)))"
            return """
                SELECT '\(rows.table)', count(*), coalesce(sum(hash_record_extended(ROW(\(row)), 0)::numeric), 0)::text
                  FROM \(rows.source)
                """
        }.joined(separator: " UNION ALL ")
        return try await connection.run { connection in
            try connection.query(sql).reduce(into: [:]) { sums, row in
                sums[try row.decode(0, as: String.self)] =
                    "\(try row.decode(1, as: Int.self)) \(try row.decode(2, as: String.self))"
            }
        }
    }
}
