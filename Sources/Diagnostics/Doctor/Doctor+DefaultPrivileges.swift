import PostgresClient

// Default privileges: the rights that PostgreSQL sets on new objects.
extension Doctor {
    /// SQL for the differences between the owner's default privileges and PostgreSQL's built-in ones.
    private static let differences = """
        WITH entry AS (
            SELECT d.oid, k.kind, n.nspname, d.defaclrole AS owner, d.defaclacl AS acl,
                   CASE WHEN d.defaclnamespace = 0 THEN acldefault(k.letter::"char", d.defaclrole) END AS initial
              FROM pg_default_acl AS d JOIN pg_roles AS o ON o.oid = d.defaclrole AND o.rolname = 'fieldseal_owner'
              JOIN (VALUES \(SchemaReference.kindsOfObjects)) AS k (type, letter, kind) ON k.type = d.defaclobjtype
              LEFT JOIN pg_namespace AS n ON n.oid = d.defaclnamespace
        ), difference AS (
            SELECT oid, kind, nspname, owner, true AS is_given, x.privilege_type, x.grantee FROM entry, aclexplode(acl) AS x
             WHERE NOT EXISTS (SELECT FROM aclexplode(initial) AS y WHERE (y.privilege_type, y.grantee) = (x.privilege_type, x.grantee))
            UNION ALL
            SELECT oid, kind, nspname, owner, false, x.privilege_type, x.grantee FROM entry, aclexplode(initial) AS x
             WHERE NOT EXISTS (SELECT FROM aclexplode(acl) AS y WHERE (y.privilege_type, y.grantee) = (x.privilege_type, x.grantee))
        )
        SELECT d.is_given, d.kind, d.nspname, string_agg(d.privilege_type, ', ' ORDER BY d.privilege_type), coalesce(r.rolname, 'PUBLIC')
          FROM difference AS d LEFT JOIN pg_roles AS r ON r.oid = d.grantee
         WHERE d.grantee <> d.owner OR NOT d.is_given GROUP BY d.oid, d.is_given, d.kind, d.nspname, r.rolname ORDER BY 2, 3, 5, 1
        """

    /// Reports default privileges of the owner. These privileges would apply to new tables, such as those of a key change. Until
    /// such a table exists, no other check reports the privileges.
    func defaultPrivileges(on connection: isolated PostgresConnection) throws -> [Finding] {
        let rows = try connection.query(Self.differences)
        return try rows.map { row in
            let isGiven: Bool = try row.decode(0)
            let (kind, rights): (String, String) = (try row.decode(1), try row.decode(3))
            let role: String = try row.decode(4)
            let schema: String? = try row.decodeIfPresent(2)
            let place = schema.map { " in the schema \($0)" } ?? ""
            let command =
                "ALTER DEFAULT PRIVILEGES FOR ROLE fieldseal_owner\(schema.map { " IN SCHEMA \(quoteIdentifier($0))" } ?? "")"
            return Finding(
                .error, "default-grant",
                isGiven
                    ? "\(role) gets \(rights) on each of the new \(kind.lowercased()) of fieldseal_owner\(place)"
                    : "\(role) does not get \(rights) on the new \(kind.lowercased()) of fieldseal_owner\(place)",
                advice: isGiven
                    ? "\(command) REVOKE \(rights) ON \(kind) FROM \(role); then fieldseal doctor names what was made meanwhile"
                    : "\(command) GRANT \(rights) ON \(kind) TO \(role)")
        }
    }
}

extension SchemaReference {
    /// Kinds of objects in SQL: the letter in `pg_default_acl`, the letter for `acldefault`, and the word in `ALTER DEFAULT
    /// PRIVILEGES`.
    static let kindsOfObjects = """
        ('r'::"char", 'r', 'TABLES'), ('S', 's', 'SEQUENCES'), ('f', 'f', 'FUNCTIONS'), ('T', 'T', 'TYPES'), ('n', 'n', 'SCHEMAS')
        """

    /// Resets the acting role's default privileges to PostgreSQL's built-in ones, in a transaction that is rolled back. Without
    /// this, the objects of the reference would have the database's default privileges.
    static let withoutDefaultPrivileges = """
        DO $$
        DECLARE
            statement text;
        BEGIN
            FOR statement IN
                WITH entry AS (
                    SELECT k.kind, d.defaclacl AS acl, acldefault(k.letter::"char", d.defaclrole) AS initial
                      FROM pg_default_acl AS d JOIN (VALUES \(kindsOfObjects)) AS k (type, letter, kind) ON k.type = d.defaclobjtype
                     WHERE d.defaclrole = current_user::regrole AND d.defaclnamespace = 0
                ), change AS (
                    SELECT 1 AS step, format('REVOKE ALL ON %s FROM', kind) AS words, x.grantee FROM entry, aclexplode(acl) AS x
                    UNION
                    SELECT 2, format('GRANT %s ON %s TO', x.privilege_type, kind), x.grantee FROM entry, aclexplode(initial) AS x
                )
                SELECT format('ALTER DEFAULT PRIVILEGES %s %s', c.words, coalesce(quote_ident(r.rolname), 'PUBLIC'))
                  FROM change AS c LEFT JOIN pg_roles AS r ON r.oid = c.grantee ORDER BY c.step
            LOOP
                EXECUTE statement;
            END LOOP;
        END
        $$
        """
}
