import PostgresClient

/// Suspends guards of a schema while changed rows are copied into its filled tables, inside one transaction. Triggers are disabled.
/// Foreign keys are checked when the caller asks for it. Unique constraints are dropped, because a row may take a name that another
/// row is about to give up. Primary keys are kept.
///
/// Unlike ``SuspendedGuards``, restoring these guards reads no table with many rows.
struct DeferredGuards {
    private let restoring: [String]

    /// Checks of single rows do not depend on the order of the rows, so these checks stay enabled.
    private static let kept = "refuses_encrypted"

    init(in schema: String, on connection: isolated PostgresConnection) throws {
        let relations = SchemaMembers.relations(of: "$1::text::regnamespace")
        let statements = try connection.query(
            """
            SELECT format('ALTER TABLE %s DISABLE TRIGGER %I', t.tgrelid::regclass, t.tgname),
                   format('ALTER TABLE %s ENABLE %s TRIGGER %I', t.tgrelid::regclass,
                       CASE t.tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, t.tgname)
              FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
             WHERE c.oid IN \(relations) AND NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgenabled <> 'D'
               AND t.tgname <> $2
            UNION ALL
            SELECT format('ALTER TABLE %s ALTER CONSTRAINT %I DEFERRABLE INITIALLY DEFERRED', k.conrelid::regclass, k.conname),
                   format('ALTER TABLE %s ALTER CONSTRAINT %I NOT DEFERRABLE', k.conrelid::regclass, k.conname)
              FROM pg_constraint AS k
             WHERE k.conrelid IN \(relations) AND k.contype = 'f' AND k.conparentid = 0 AND NOT k.condeferrable
            UNION ALL
            SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', k.conrelid::regclass, k.conname),
                   format('ALTER TABLE %s ADD CONSTRAINT %I %s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid))
              FROM pg_constraint AS k WHERE k.conrelid IN \(relations) AND k.contype = 'u'
            """, [.text(quoteIdentifier(schema)), .text(Self.kept)])
        restoring = try statements.map { try $0.decode(1) }
        try connection.execute(try statements.map { try $0.decode(0, as: String.self) }.joined(separator: "; "))
    }

    /// Checks the foreign keys of all rows that were written since the last check.
    ///
    /// - Throws: ``PostgresError`` 23503 when a row refers to a missing row.
    static func check(on connection: isolated PostgresConnection) throws {
        try connection.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
    }

    /// Restores the guards, each as it was. The foreign keys were checked before.
    func restore(on connection: isolated PostgresConnection) throws {
        try connection.execute(restoring.joined(separator: "; "))
    }
}
