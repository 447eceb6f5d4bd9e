package import PostgresClient
package import Tenancy

/// A moment in an organization's tables that clients can't read: an infinite one, or one outside of the years 1 to 9999.
package struct UnreadableMoment: Sendable {
    package let table: String
    package let column: String
    /// The primary key of the row.
    package let row: String

    /// Tables of evidence, which must not be corrected. In place of such a moment, clients read the nearest moment within the years
    /// 1 to 9999.
    private static let evidence = ["audit", "audit_block", "event_archive", "security_event", "unchained_event"]

    /// Finds moments that clients can't read. Reads every row of the tables that have moments.
    ///
    /// - Parameter limit: The largest number of moments that are returned.
    package static func find(
        in organization: Organization, limit: Int, on connection: isolated PostgresConnection
    ) throws -> [UnreadableMoment] {
        let columns = try columns(of: organization, on: connection)
        guard !columns.isEmpty else { return [] }
        // Each value is selected with the number of its column in this list, so that no column name becomes a literal in SQL.
        var tables: [String: (key: String, values: [String])] = [:]
        for (number, column) in columns.enumerated() {
            let value = "(\(number), r.\(quoteIdentifier(column.name))::timestamptz)"
            tables[column.table, default: (column.key, [])].values.append(value)
        }
        let parts = tables.sorted { $0.key < $1.key }.map { table, read in
            """
            SELECT m.number, concat_ws(' ', \(read.key)) AS row FROM \(organization.qualified(table)) AS r
              CROSS JOIN LATERAL (VALUES \(read.values.joined(separator: ", "))) AS m (number, value)
             WHERE m.value NOT BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'
            """
        }
        return try connection.query("\(parts.joined(separator: "\nUNION ALL ")) LIMIT \(limit)").map { row in
            let column = columns[try row.decode(0, as: Int.self)]
            return UnreadableMoment(table: column.table, column: column.name, row: try row.decode(1))
        }
    }

    /// The columns with moments, and the expressions of the primary keys of their tables.
    private static func columns(
        of organization: Organization, on connection: isolated PostgresConnection
    ) throws -> [(table: String, name: String, key: String)] {
        try connection.query(
            """
            SELECT c.relname::text, a.attname::text,
                   coalesce((SELECT string_agg(format('r.%I', k.attname), ', ' ORDER BY k.attnum)
                               FROM pg_index AS i JOIN pg_attribute AS k ON k.attrelid = i.indrelid AND k.attnum = ANY (i.indkey)
                              WHERE i.indrelid = c.oid AND i.indisprimary), 'r.ctid')
              FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
             WHERE c.oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace")) AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
               AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype) AND c.relname <> ALL ($2)
             ORDER BY 1, a.attnum
            """, [.text(quoteIdentifier(organization.schema)), .texts(evidence)]
        ).map { (try $0.decode(0), try $0.decode(1), try $0.decode(2)) }
    }
}
