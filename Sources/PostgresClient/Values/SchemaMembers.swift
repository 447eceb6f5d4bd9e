/// SQL subqueries for the objects in a schema.
///
/// PostgreSQL's catalogs have no index by schema. A condition such as `relnamespace = …` reads the rows of all schemas: about a
/// million rows in a database with ten thousand organizations. But each object depends on its schema, and `pg_depend` has an index
/// for these dependencies.
public enum SchemaMembers {
    /// A subquery for the oids of a schema's tables, views and sequences. Indexes belong to their tables.
    ///
    /// - Parameter schema: An SQL expression for the schema's oid.
    public static func relations(of schema: String) -> String { members("pg_class", of: schema) }

    /// A subquery for the oids of a schema's functions.
    public static func functions(of schema: String) -> String { members("pg_proc", of: schema) }

    private static func members(_ catalog: String, of schema: String) -> String {
        """
        (SELECT d.objid FROM pg_depend AS d WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = \(schema)
            AND d.classid = '\(catalog)'::regclass)
        """
    }
}
