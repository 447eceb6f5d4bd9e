import PostgresClient

/// Triggers and foreign keys of a schema that are disabled while rows are loaded in bulk, in one transaction. Rows arrive in any
/// order and in their original form, events with their hashes, and the load is not audited. Foreign keys are checked over all rows
/// when they are restored. Indexes without a constraint are dropped too, because building them afterwards is faster.
struct SuspendedGuards {
    private struct Trigger {
        let table: String
        let name: String
        let state: String
    }

    private struct ForeignKey {
        let table: String
        let name: String
        let definition: String
    }

    private let triggers: [Trigger]
    private let foreignKeys: [ForeignKey]
    private let indexes: [String]

    /// Checks of single rows do not depend on their order, so they stay enabled.
    private static let kept = "refuses_encrypted"

    /// Disables them.
    ///
    /// - Parameter table: Only of this table; nil for all of the schema.
    init(in schema: String, table: String? = nil, on connection: isolated PostgresConnection) throws {
        let parameters: [PostgresParameter] = [.text(quoteIdentifier(schema)), .text(table)]
        triggers = try connection.query(
            """
            SELECT t.tgrelid::regclass::text, quote_ident(t.tgname), t.tgenabled::text
              FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
             WHERE c.oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace")) AND ($2::text IS NULL OR c.relname = $2)
               AND NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgenabled <> 'D' AND t.tgname <> $3
            """, parameters + [.text(Self.kept)]
        ).map { try Trigger(table: $0.decode(0), name: $0.decode(1), state: $0.decode(2)) }
        foreignKeys = try connection.query(
            """
            SELECT k.conrelid::regclass::text, quote_ident(k.conname), pg_get_constraintdef(k.oid)
              FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
             WHERE c.oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace")) AND ($2::text IS NULL OR c.relname = $2)
               AND k.contype = 'f' AND k.conparentid = 0
            """, parameters
        ).map { try ForeignKey(table: $0.decode(0), name: $0.decode(1), definition: $0.decode(2)) }
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
        for key in foreignKeys { try connection.execute("ALTER TABLE \(key.table) DROP CONSTRAINT \(key.name)") }
    }

    /// Enables them again, each as it was.
    ///
    /// - Throws: ``PostgresError`` 23503 when a row refers to a missing row.
    func restore(on connection: isolated PostgresConnection) throws {
        for index in indexes { try connection.execute(index) }
        for key in foreignKeys {
            try connection.execute("ALTER TABLE \(key.table) ADD CONSTRAINT \(key.name) \(key.definition)")
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
