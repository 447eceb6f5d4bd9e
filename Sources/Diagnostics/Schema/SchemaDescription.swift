import PostgresClient

/// The contents of a schema as lines of text. The lines do not depend on the schema's name, the key version in force or
/// PostgreSQL's version. So two schemas that the same migrations made have the same lines.
struct SchemaDescription: Sendable {
    /// One object, a right to an object, or an object's state.
    struct Line: Sendable, Hashable {
        let kind: String
        let name: String
    }

    /// A digest over all lines.
    let digest: String
    /// The definition of each line; nil when only the digest was asked for.
    let lines: [Line: String]?

    /// Describes a schema.
    ///
    /// - Parameters:
    ///   - keyVersion: The key version whose cell tables are described. The cell tables of other versions are left out.
    ///   - moveFunctions: The oids of functions of a move's journal. The triggers of a move that call them are left out.
    ///   - isDetailed: Whether to return the lines, and not only their digest.
    init(
        of schema: String, keyVersion: Int?, moveFunctions: [Int64] = [], isDetailed: Bool,
        on connection: isolated PostgresConnection
    ) throws {
        let parameters: [PostgresParameter] = [.text(schema), .int32(keyVersion.map(Int32.init)), .int64s(moveFunctions)]
        let digest = try connection.query(
            """
            \(Self.described)
            SELECT md5(string_agg(format('%s|%s|%s', kind, name, definition), E'\\n' ORDER BY kind, name, definition)) FROM line
            """, parameters)
        self.digest = try digest[0].decodeIfPresent(0) ?? ""
        guard isDetailed else {
            lines = nil
            return
        }
        let rows = try connection.query(
            "\(Self.described) SELECT kind, name, string_agg(definition, E'\\n' ORDER BY definition) FROM line GROUP BY 1, 2",
            parameters)
        lines = try rows.reduce(into: [:]) { try $0[Line(kind: $1.decode(0), name: $1.decode(1))] = $1.decode(2) }
    }

    // MARK: SQL

    private static let described = """
        WITH this AS (SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname = $1::text),
        -- Finds objects with an index of pg_depend, because pg_class and pg_proc have no index by schema, and there may be
        -- a thousand schemas.
        member AS (
            SELECT d.classid, d.objid FROM pg_depend AS d JOIN this ON d.refobjid = this.oid WHERE d.refclassid = 'pg_namespace'::regclass
        ), routine AS (
            SELECT p.* FROM member AS m JOIN pg_proc AS p ON p.oid = m.objid WHERE m.classid = 'pg_proc'::regclass
        ), relation AS (
            SELECT c.* FROM member AS m JOIN pg_class AS c ON c.oid = m.objid
             WHERE m.classid = 'pg_class'::regclass AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')
               AND ($2::integer IS NULL OR NOT \(CellGenerations.isTable("c")) OR c.relname ~ ('_cell_k' || $2::integer || '$'))
        ), raw (kind, name, definition) AS (
            \([namespaces, relations, columns, rules, triggers, functions, grants, objects].joined(separator: "\n    UNION ALL\n"))
        ), line AS (
            SELECT kind, \(normalized("name")) AS name, \(normalized("definition")) AS definition FROM raw
        )
        """

    /// Replaces the schema's name and the key version in a text by a mark, and doubles each mark that the text itself has. So a
    /// schema that is called like the mark is not taken for the organization's.
    private static func normalized(_ column: String) -> String {
        let named = "replace(replace(\(column), '@', '@@'), $1::text, '@')"
        return """
            CASE WHEN $2::integer IS NULL OR name !~ '_cell_k[0-9]' THEN \(named) ELSE
                regexp_replace(regexp_replace(replace(\(named), '\\x01' || lpad(to_hex($2::integer), 8, '0'), '\\x01@'),
                    '_cell_k' || $2::integer || '(?![0-9])', '_cell_k@', 'g'),
                    '(key_version = |IN \\()' || $2::integer || '\\)', '\\1@)', 'g') END
            """
    }

    private static let namespaces = """
        SELECT 'schema', nspname::text, 'owner ' || pg_get_userbyid(nspowner) FROM this
        """

    /// Tables, views and sequences, with their checks and indexes.
    private static let relations = """
        SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'view' WHEN 'S' THEN 'sequence' ELSE 'table' END, relname::text,
               concat_ws(' ', relkind, relpersistence, 'owner', pg_get_userbyid(relowner), relrowsecurity, relforcerowsecurity,
                   pg_get_expr(relpartbound, r.oid), CASE relkind WHEN 'p' THEN pg_get_partkeydef(r.oid) END,
                   CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid) || coalesce(array_to_string(reloptions, ','), '') END,
                   (SELECT concat_ws(' ', seqincrement, seqmin, seqmax, seqcycle) FROM pg_sequence WHERE seqrelid = r.oid))
          FROM relation AS r
        UNION ALL
        SELECT 'inheritance', r.relname || '.' || i.inhrelid::regclass, 'child' FROM relation AS r JOIN pg_inherits AS i ON i.inhparent = r.oid
          JOIN pg_class AS c ON c.oid = i.inhrelid WHERE r.relkind <> 'p' OR c.relnamespace <> r.relnamespace
        UNION ALL
        SELECT 'inheritance', r.relname || '.' || i.inhparent::regclass, 'parent' FROM relation AS r JOIN pg_inherits AS i ON i.inhrelid = r.oid
          JOIN pg_class AS c ON c.oid = i.inhparent WHERE c.relkind <> 'p' OR c.relnamespace <> r.relnamespace
        UNION ALL
        SELECT 'constraint', r.relname || '.' || k.conname, pg_get_constraintdef(k.oid) || CASE WHEN k.convalidated THEN '' ELSE ' not valid' END
          FROM relation AS r JOIN pg_constraint AS k ON k.conrelid = r.oid WHERE k.contype <> 'n'
        UNION ALL
        SELECT 'index', r.relname || '.' || i.relname, pg_get_indexdef(i.oid) || CASE WHEN x.indisvalid THEN '' ELSE ' invalid' END
          FROM relation AS r JOIN pg_index AS x ON x.indrelid = r.oid JOIN pg_class AS i ON i.oid = x.indexrelid
        """

    private static let columns = """
        SELECT 'column', r.relname || '.' || a.attname,
               concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, a.attcollation::regcollation,
                   pg_get_expr(d.adbin, d.adrelid),
                   CASE WHEN a.atttypid = 'bytea'::regtype AND r.relkind <> 'v' THEN concat(a.attstorage, a.attstattarget) END)
          FROM relation AS r JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
          LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE r.relkind <> 'S'
        """

    private static let rules = """
        SELECT 'rule', r.relname || '.' || w.rulename, concat(w.ev_enabled, pg_get_ruledef(w.oid))
          FROM relation AS r JOIN pg_rewrite AS w ON w.ev_class = r.oid WHERE w.rulename <> '_RETURN' OR w.ev_enabled <> 'O'
        UNION ALL
        SELECT 'policy', r.relname || '.' || p.polname,
               concat_ws(' ', p.polcmd, p.polpermissive, p.polroles::regrole[]::text, pg_get_expr(p.polqual, r.oid), pg_get_expr(p.polwithcheck, r.oid))
          FROM relation AS r JOIN pg_policy AS p ON p.polrelid = r.oid
        """

    /// The triggers, without those that a running key change or move adds. Triggers of foreign keys are left out too, because the
    /// foreign keys themselves are described.
    ///
    /// `pg_get_triggerdef` reads the functions of the same name in all schemas, and the backend caches them. So the statement calls
    /// it only for a trigger's condition. The call requests few parentheses, because a trigger from a restored dump has fewer of
    /// them.
    private static let triggers = """
        SELECT 'trigger', r.relname || '.' || t.tgname,
               CASE WHEN t.tgqual IS NOT NULL THEN replace(pg_get_triggerdef(t.oid, true), ' ON ' || r.oid::regclass::text || ' ', ' ON its table ')
                    ELSE concat_ws(' ', t.tgtype, p.pronamespace::regnamespace, p.proname, t.tgnargs, encode(t.tgargs, 'escape'), t.tgconstraint = 0,
                       t.tgdeferrable, t.tginitdeferred, t.tgoldtable, t.tgnewtable, 'of', (
                           SELECT string_agg(a.attname, ', ' ORDER BY a.attname) FROM pg_attribute AS a
                            WHERE a.attrelid = t.tgrelid AND a.attnum = ANY (t.tgattr)))
               END
          FROM relation AS r JOIN pg_trigger AS t ON t.tgrelid = r.oid JOIN pg_proc AS p ON p.oid = t.tgfoid
         WHERE NOT t.tgisinternal AND NOT \(isNoting)
        UNION ALL
        SELECT 'trigger state', r.relname || '.' || CASE WHEN t.tgisinternal THEN 'foreign key ' || k.conname ELSE t.tgname END, t.tgenabled::text
          FROM relation AS r JOIN pg_trigger AS t ON t.tgrelid = r.oid JOIN pg_proc AS p ON p.oid = t.tgfoid
          LEFT JOIN pg_constraint AS k ON k.oid = t.tgconstraint
         WHERE NOT \(isNoting)
        """

    /// SQL that tells whether a trigger is exactly as a key change or a move makes it. Each part of its definition is compared,
    /// because a trigger with another timing or condition can suppress writes.
    ///
    /// The types are those of `pg_trigger`: 29 is AFTER INSERT OR UPDATE OR DELETE FOR EACH ROW, and 34 is BEFORE TRUNCATE FOR EACH
    /// STATEMENT.
    private static let isNoting = """
        (NOT t.tgisinternal AND r.relkind = 'r' AND t.tgqual IS NULL AND t.tgnargs = 0 AND t.tgattr::text = '' AND t.tgconstraint = 0
            AND NOT t.tgdeferrable AND t.tgoldtable IS NULL AND t.tgnewtable IS NULL
            AND (t.tgname = 'notes_change' AND t.tgtype = 29 AND t.tgenabled IN ('O', 'D') AND r.relispartition
                    AND \(CellGenerations.isTable("r")) AND p.pronamespace = r.relnamespace
                    AND p.proname::text = regexp_replace(r.relname::text, '_cell_k[0-9]+$', '_notes_change')
                OR (t.tgname = 'notes_move' AND t.tgtype = 29 OR t.tgname = 'notes_move_truncate' AND t.tgtype = 34)
                    AND t.tgenabled = 'A' AND p.oid::bigint = ANY ($3) AND p.proname = r.relname))
        """

    private static let functions = """
        SELECT 'function', format('%s(%s)', p.proname, pg_get_function_identity_arguments(p.oid)),
               concat('owner ', pg_get_userbyid(p.proowner), ' ', CASE WHEN p.prokind IN ('f', 'p') THEN pg_get_functiondef(p.oid) ELSE p.prokind::text END)
          FROM routine AS p
        """

    /// The rights of all roles but the owner.
    private static let grants = """
        SELECT 'grant', concat_ws(' ', a.privilege_type, 'on', a.place, 'to', coalesce(g.rolname, 'PUBLIC'), CASE WHEN a.is_grantable THEN 'with grant option' END), ''
          FROM (SELECT 'the schema' AS place, nspowner AS owner, x.* FROM this, aclexplode(nspacl) AS x
                UNION ALL
                SELECT r.relname, relowner, x.* FROM relation AS r, aclexplode(relacl) AS x
                UNION ALL
                SELECT r.relname || '.' || c.attname, relowner, x.* FROM relation AS r JOIN pg_attribute AS c ON c.attrelid = r.oid, aclexplode(c.attacl) AS x
                UNION ALL
                SELECT p.proname || '()', p.proowner, x.* FROM routine AS p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS x) AS a
          LEFT JOIN pg_roles AS g ON g.oid = a.grantee
         WHERE a.grantee <> a.owner
        """

    /// Types, operators, default privileges, and every other kind of object in a schema.
    private static let objects = """
        SELECT 'object', concat_ws(' ', o.type, o.identity), ''
          FROM member AS m, pg_identify_object(m.classid, m.objid, 0) AS o
         WHERE m.classid NOT IN ('pg_class'::regclass, 'pg_proc'::regclass)
        """
}
