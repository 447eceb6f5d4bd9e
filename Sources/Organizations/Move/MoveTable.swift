import Foundation
import PostgresClient
import Tenancy

/// A table of an organization whose rows are moved.
struct MoveTable: Sendable, Hashable {
    let name: String
    /// The columns as SQL writes them, sorted by name, because their order in the two tables may differ.
    let columns: [String]
    /// The columns of the primary key.
    let keys: [String]
    /// Whether rows with equal hashes have equal bytes. False if a column has decimal numbers, because PostgreSQL treats 1.0 and
    /// 1.00 as equal. Also false if a column has times or 64-bit numbers, because PostgreSQL reduces them to 32 bits for the hash.
    let hasExactHashes: Bool

    var columnList: String { columns.joined(separator: ", ") }
    var keyList: String { keys.joined(separator: ", ") }

    /// The tables whose rows are moved. Generations of other keys are left out, because a sweep is about to remove them.
    static func list(of organization: Organization, keyVersion: Int, on connection: isolated PostgresConnection) throws
        -> [MoveTable]
    {
        try connection.query(
            """
            SELECT c.relname::text, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname COLLATE "C"),
                   string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname COLLATE "C") FILTER (WHERE a.attnum = ANY (i.indkey)),
                   bool_and(a.atttypid = ANY ($3::regtype[]) AND (l.collisdeterministic OR l IS NULL))
              FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
              LEFT JOIN pg_index AS i ON i.indrelid = c.oid AND i.indisprimary
              LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
             WHERE c.oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace")) AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
               AND a.attgenerated = '' AND NOT (c.relname ~ '_cell_k[0-9]+$' AND c.relname !~ ('_cell_k' || $2 || '$'))
             GROUP BY c.relname ORDER BY c.relname COLLATE "C"
            """, [.text(quoteIdentifier(organization.schema)), .text("\(keyVersion)"), .text(exactTypes)]
        ).map { row in
            func names(_ column: Int) throws -> [String] {
                try row.decodeIfPresent(column, as: String.self)?.components(separatedBy: ", ") ?? []
            }
            return MoveTable(name: try row.decode(0), columns: try names(1), keys: try names(2), hasExactHashes: try row.decode(3))
        }.filter { !passedOver.contains($0.name) }
    }

    private static let exactTypes = "{bool,bytea,date,int2,int4,text,uuid}"

    /// Tables whose rows are not moved: the program fills them itself, or they have no meaning outside of a key change.
    private static let passedOver: Set = ["encryption", "migration", "cell_change"]
}
