import Model
import PostgresClient

/// What an upgrade from plaintext does not take over: everything in the old schema, and everything elsewhere that depends on it,
/// except the copied rows.
struct PlaintextLosses: Sendable {
    /// One thing that is lost.
    struct Loss: Sendable, Hashable {
        /// The name of the loss for `--discard`.
        let name: String
        /// A description: the kind of object, or how many values there are.
        let description: String
        /// The statement that drops only this object; nil if it is dropped together with its table.
        let drop: String?
    }

    /// The old schema.
    let schema: String
    /// Tables with copied rows, and the copied columns of each.
    let copied: [String: Set<String>]

    /// Lists everything, in the order of the names.
    func list(on connection: isolated PostgresConnection) throws -> [Loss] {
        let losses = try objects(on: connection) + attachments(on: connection) + columns(on: connection)
        return Set(losses).sorted { $0.name < $1.name }
    }

    // MARK: Objects

    /// Objects in the schema, and objects elsewhere that depend on them directly or indirectly.
    private func objects(on connection: isolated PostgresConnection) throws -> [Loss] {
        let rows = try connection.query(Self.objects, [.text(quoteIdentifier(schema)), .texts(copied.keys.sorted())])
        return try rows.map { row in
            let (type, identity): (String, String) = (try row.decode(0), try row.decode(1))
            let name = identity.replacing("\(schema).", with: "")
            return Loss(name: name, description: "the \(type) \(name)", drop: try row.decodeIfPresent(2))
        }
    }

    /// The query that finds these objects. Its column `home` is the schema of an object.
    /// A view is represented by its rule.
    private static let objects = """
        WITH RECURSIVE old AS (SELECT $1::text::regnamespace::oid AS oid),
        inside AS (
            SELECT d.classid, d.objid FROM pg_depend AS d, old
             WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = old.oid AND d.deptype = 'n'
               AND NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.classid = d.classid AND e.objid = d.objid
                   AND (e.deptype = 'e' OR e.deptype IN ('a', 'i') AND e.classid = 'pg_class'::regclass))
        ), reached AS (
            SELECT classid, objid FROM inside
            UNION
            SELECT n.classid, n.objid FROM reached AS r JOIN pg_depend AS d ON d.refclassid = r.classid AND d.refobjid = r.objid,
                LATERAL (SELECT d.classid, d.objid UNION ALL
                         SELECT 'pg_class'::regclass, w.ev_class FROM pg_rewrite AS w
                          WHERE d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid) AS n
        ), placed AS (
            SELECT r.classid, r.objid, (r.classid, r.objid) IN (SELECT classid, objid FROM inside) AS is_inside,
                   CASE r.classid
                   WHEN 'pg_class'::regclass THEN (SELECT c.relnamespace FROM pg_class AS c WHERE c.oid = r.objid)
                   WHEN 'pg_constraint'::regclass THEN (SELECT c.connamespace FROM pg_constraint AS c WHERE c.oid = r.objid)
                   WHEN 'pg_attrdef'::regclass THEN
                       (SELECT c.relnamespace FROM pg_attrdef AS a JOIN pg_class AS c ON c.oid = a.adrelid WHERE a.oid = r.objid)
                   WHEN 'pg_trigger'::regclass THEN
                       (SELECT c.relnamespace FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid WHERE t.oid = r.objid)
                   WHEN 'pg_rewrite'::regclass THEN
                       (SELECT c.relnamespace FROM pg_rewrite AS w JOIN pg_class AS c ON c.oid = w.ev_class WHERE w.oid = r.objid)
                   WHEN 'pg_policy'::regclass THEN
                       (SELECT c.relnamespace FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid WHERE p.oid = r.objid)
                   WHEN 'pg_type'::regclass THEN (SELECT t.typnamespace FROM pg_type AS t WHERE t.oid = r.objid)
                   WHEN 'pg_proc'::regclass THEN (SELECT p.pronamespace FROM pg_proc AS p WHERE p.oid = r.objid)
                   ELSE 0 END AS home
              FROM reached AS r
        )
        SELECT o.type, o.identity,
               CASE WHEN p.classid = 'pg_constraint'::regclass THEN
                        (SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', k.conrelid::regclass, k.conname)
                           FROM pg_constraint AS k WHERE k.oid = p.objid)
                    WHEN p.classid = 'pg_attrdef'::regclass THEN
                        (SELECT format('ALTER TABLE %s ALTER %I DROP DEFAULT', d.adrelid::regclass, a.attname)
                           FROM pg_attrdef AS d JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE d.oid = p.objid)
                    WHEN o.type LIKE 'publication%' THEN NULL
                    ELSE format('DROP %s %s', replace(upper(o.type), ' OBJECT', ''), o.identity) END
          FROM placed AS p, old, pg_identify_object(p.classid, p.objid, 0) AS o
         WHERE (p.is_inside OR p.home <> old.oid)
           AND coalesce(p.home, 0) NOT IN (SELECT oid FROM pg_namespace WHERE nspname = 'pg_toast')
           AND NOT (p.classid = 'pg_class'::regclass AND p.is_inside AND EXISTS (
               SELECT FROM pg_class AS c LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid AND c.relispartition
                   LEFT JOIN pg_class AS parent ON parent.oid = i.inhparent
                WHERE c.oid = p.objid AND coalesce(parent.relname, c.relname) = ANY ($2) AND c.relkind IN ('r', 'p')))
           AND NOT (p.classid = 'pg_type'::regclass AND EXISTS (SELECT FROM pg_type AS t WHERE t.oid = p.objid
               AND (t.typelem <> 0 AND t.typlen = -1 OR EXISTS (SELECT FROM pg_class AS c WHERE c.oid = t.typrelid AND c.relkind <> 'c'))))
           AND NOT (p.classid = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_class AS c WHERE c.oid = p.objid AND c.relkind = 'c'))
           AND NOT (p.classid = 'pg_rewrite'::regclass AND EXISTS (
               SELECT FROM pg_rewrite AS w WHERE w.oid = p.objid AND w.rulename = '_RETURN'))
           AND NOT (p.classid = 'pg_trigger'::regclass AND EXISTS (SELECT FROM pg_trigger AS t WHERE t.oid = p.objid AND t.tgisinternal))
        """

    /// Triggers, rules, policies and outward foreign keys of copied tables.
    private func attachments(on connection: isolated PostgresConnection) throws -> [Loss] {
        let rows = try connection.query(
            """
            WITH t AS (SELECT oid, relname FROM pg_class WHERE relnamespace = $1::text::regnamespace AND relname = ANY ($2))
            SELECT 'trigger', format('%I on %I', g.tgname, t.relname) FROM pg_trigger AS g JOIN t ON t.oid = g.tgrelid WHERE NOT g.tgisinternal
            UNION ALL
            SELECT 'rule', format('%I on %I', w.rulename, t.relname) FROM pg_rewrite AS w JOIN t ON t.oid = w.ev_class
            UNION ALL
            SELECT 'policy', format('%I on %I', p.polname, t.relname) FROM pg_policy AS p JOIN t ON t.oid = p.polrelid
            UNION ALL
            SELECT 'foreign key', format('%I on %I', k.conname, t.relname) FROM pg_constraint AS k JOIN t ON t.oid = k.conrelid
              JOIN pg_class AS c ON c.oid = k.confrelid WHERE k.contype = 'f' AND c.relnamespace <> $1::text::regnamespace
            """, [.text(quoteIdentifier(schema)), .texts(copied.keys.sorted())])
        return try rows.map { row in
            let (type, name): (String, String) = (try row.decode(0), try row.decode(1))
            return Loss(name: name, description: "the \(type) \(name)", drop: nil)
        }
    }

    /// Columns of copied tables that contain values and that the new tables do not have.
    private func columns(on connection: isolated PostgresConnection) throws -> [Loss] {
        let rows = try connection.query(
            """
            SELECT c.relname::text, a.attname::text FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
             WHERE c.relnamespace = $1::text::regnamespace AND c.relname = ANY ($2) AND a.attnum > 0 AND NOT a.attisdropped
            """, [.text(quoteIdentifier(schema)), .texts(copied.keys.sorted())])
        return try rows.compactMap { row in
            let (table, column): (String, String) = (try row.decode(0), try row.decode(1))
            if copied[table]?.contains(column) == true { return nil }
            let values: Int = try connection.query(
                "SELECT count(\(quoteIdentifier(column))) FROM \(quoteIdentifier(schema)).\(quoteIdentifier(table))")[0].decode(0)
            guard values > 0 else { return nil }
            return Loss(
                name: "\(table).\(column)", description: "the column \(table).\(column) with \(values) values", drop: nil)
        }
    }

    // MARK: The end of the old schema

    /// Drops the listed objects, the copied tables and the schema, and nothing else.
    ///
    /// - Throws: ``FieldsealError`` when an object that was not listed depends on one of the dropped objects.
    func drop(_ losses: [Loss], on connection: isolated PostgresConnection) throws {
        let tables = copied.keys.sorted().map { "\(quoteIdentifier(schema)).\(quoteIdentifier($0))" }
        var pending = losses.compactMap(\.drop) + ["DROP TABLE \(tables.joined(separator: ", "))"]
        while !pending.isEmpty {
            var left: [String] = []
            var problem: PostgresError?
            for statement in pending {
                try connection.execute("SAVEPOINT one")
                do {
                    try connection.execute("\(statement); RELEASE SAVEPOINT one")
                } catch let error as PostgresError where error.kind == .server {
                    try connection.execute("ROLLBACK TO SAVEPOINT one; RELEASE SAVEPOINT one")
                    // The object was dropped together with another one.
                    if [.undefinedTable, .undefinedObject, .undefinedFunction, .undefinedSchema].contains(error.state) { continue }
                    problem = error
                    left.append(statement)
                }
            }
            guard left.count < pending.count else { throw Self.notDropped(problem) }
            pending = left
        }
        do {
            try connection.execute("DROP SCHEMA \(quoteIdentifier(schema)) RESTRICT")
        } catch let error as PostgresError where error.kind == .server {
            throw Self.notDropped(error)
        }
    }

    private static func notDropped(_ error: PostgresError?) -> FieldsealError {
        FieldsealError(
            .unexpected,
            "The old tables can't be dropped: \(error.map { "\($0)" } ?? "something depends on them"). A new object depends on the "
                + "tables, or they can't be dropped one by one. Nothing was changed. Drop what depends on them, and try again."
        )
    }
}
