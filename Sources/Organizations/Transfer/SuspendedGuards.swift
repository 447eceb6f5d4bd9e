import PostgresClient

/// Triggers and foreign keys of a schema that are disabled while rows are loaded in bulk, in one transaction. So rows can be loaded
/// in any order. No trigger changes the rows, such as events with their hashes, and the load is not audited. Foreign keys are
/// checked over all rows when they are restored.
///
/// Indexes are dropped too, because building them afterwards is faster. If the rows are known to be unique, the indexes of primary
/// keys and unique constraints are dropped too.
struct SuspendedGuards {
    private struct Trigger {
        let table: String
        let name: String
        let state: String
    }

    private struct Constraint {
        let table: String
        let name: String
        let definition: String
    }

    private let triggers: [Trigger]
    /// Foreign keys come first, because they depend on the other constraints.
    private let constraints: [Constraint]
    private let indexes: [String]

    /// Checks of single rows do not depend on the order of the rows, so these checks stay enabled.
    private static let kept = "refuses_encrypted"

    /// Disables the guards.
    ///
    /// - Parameters:
    ///   - table: The only table whose guards are disabled; nil for all tables of the schema.
    ///   - rowsAreUnique: Whether rows come from tables with the same primary keys and unique constraints.
    init(
        in schema: String, table: String? = nil, rowsAreUnique: Bool = false, on connection: isolated PostgresConnection
    ) throws {
        let parameters: [PostgresParameter] = [.text(quoteIdentifier(schema)), .text(table)]
        triggers = try connection.query(
            """
            SELECT t.tgrelid::regclass::text, quote_ident(t.tgname), t.tgenabled::text
              FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
             WHERE c.oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace")) AND ($2::text IS NULL OR c.relname = $2)
               AND NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgenabled <> 'D' AND t.tgname <> $3
            """, parameters + [.text(Self.kept)]
        ).map { try Trigger(table: $0.decode(0), name: $0.decode(1), state: $0.decode(2)) }
        constraints = try connection.query(
            """
            SELECT k.conrelid::regclass::text, quote_ident(k.conname), pg_get_constraintdef(k.oid)
              FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
             WHERE c.oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace")) AND ($2::text IS NULL OR c.relname = $2)
               AND (k.contype = 'f' OR $3 AND k.contype IN ('p', 'u') AND c.relkind = 'r' AND NOT c.relispartition) AND k.conparentid = 0
             ORDER BY k.contype = 'f' DESC, k.oid
            """, parameters + [.bool(rowsAreUnique)]
        ).map { try Constraint(table: $0.decode(0), name: $0.decode(1), definition: $0.decode(2)) }
        let found = try connection.query(
            """
            SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
             WHERE c.oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace")) AND $2::text IS NULL AND c.relkind = 'r'
               AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid)
            """, parameters)
        indexes = try found.map { try $0.decode(1) }
        for index in found { try connection.execute("DROP INDEX \(try index.decode(0, as: String.self))") }
        for trigger in triggers {
            try connection.execute("ALTER TABLE \(trigger.table) DISABLE TRIGGER \(trigger.name)")
        }
        for constraint in constraints {
            try connection.execute("ALTER TABLE \(constraint.table) DROP CONSTRAINT \(constraint.name)")
        }
    }

    /// Enables the guards again, each as it was.
    ///
    /// - Throws: ``PostgresError`` 23503 when a row refers to a missing row.
    func restore(on connection: isolated PostgresConnection) throws {
        for index in indexes { try connection.execute(index) }
        for constraint in constraints.reversed() {
            try connection.execute(
                "ALTER TABLE \(constraint.table) ADD CONSTRAINT \(constraint.name) \(constraint.definition)")
        }
        for trigger in triggers {
            let mode =
                switch trigger.state {
                case "A": "ENABLE ALWAYS"
                case "R": "ENABLE REPLICA"
                default: "ENABLE"
                }
            try connection.execute("ALTER TABLE \(trigger.table) \(mode) TRIGGER \(trigger.name)")
        }
    }
}
