import Model
import PostgresClient
import Tenancy

/// The cell tables of an organization, by key version.
struct CellGenerations: Sendable, Equatable {
    /// A cell table of another key version than the one in force: a partition, or a table that `create_generation` made.
    struct Table: Sendable, Equatable {
        let name: String
        let keyVersion: Int
        let isPartition: Bool

        /// The partitioned table that has the cells of all key versions.
        var parent: String { String(name.prefix { $0 != "_" }) + "_cell" }
    }

    /// The key version in force; nil without a row in the table `encryption`.
    let keyVersion: Int?
    let others: [Table]

    init(of organization: Organization, on connection: isolated PostgresConnection) throws {
        let rows = try connection.query(
            """
            SELECT e.key_version, c.relname::text, substring(c.relname FROM '[0-9]+$')::integer, c.relispartition
              FROM (SELECT max(key_version) AS key_version FROM \(organization.qualified("encryption"))) AS e
              LEFT JOIN pg_class AS c ON c.oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace"))
                   AND \(Self.isTable("c")) AND c.relname !~ ('_cell_k' || e.key_version || '$')
             ORDER BY 3, 2
            """, [.text(quoteIdentifier(organization.schema))])
        keyVersion = try rows.first?.decodeIfPresent(0)
        others = try rows.compactMap { row in
            guard let name: String = try row.decodeIfPresent(1) else { return nil }
            return Table(name: name, keyVersion: try row.decode(2), isPartition: try row.decode(3))
        }
    }

    /// The other tables, by key version.
    var byVersion: [(keyVersion: Int, tables: [Table])] {
        Dictionary(grouping: others, by: \.keyVersion).sorted { $0.key < $1.key }.map { (keyVersion: $0.key, tables: $0.value) }
    }

    /// SQL that tells whether a row of `pg_class` is a table with the name of a cell table of a key version. A view, or a table of
    /// any other name, is not, so the comparison of schemas reports it.
    static func isTable(_ relation: String) -> String {
        let parents = EntityCatalog.withCells.map(\.cellTable).joined(separator: "|")
        return """
            (\(relation).relkind = 'r' AND \(relation).relname ~ '^(\(parents))_k[1-9][0-9]{0,9}$'
                AND substring(\(relation).relname FROM '_k([1-9][0-9]{0,9})$')::bigint <= \(Int32.max))
            """
    }
}
