import PostgresClient

// Checks for rights with which a role could bypass the guards: rights to settings, to PostgreSQL's own functions and tables, and to
// functions that run as a role with more rights.
extension Doctor {
    /// Reports the rights with which a role other than a superuser could bypass the guards.
    func privileges(on connection: isolated PostgresConnection) throws -> [Finding] {
        try parameterGrants(on: connection) + catalogGrants(on: connection) + definerFunctions(on: connection)
            + foreignViews(on: connection) + recoveryFunctions(on: connection) + serviceLogins(on: connection)
            + defaultPrivileges(on: connection)
    }

    /// SQL for the program's roles.
    private static let roles = "('fieldseal_service', 'fieldseal_owner', 'fieldseal_inspector')"

    /// Reports rights to set parameters that otherwise only superusers can set (PostgreSQL 15, `GRANT SET ON PARAMETER`).
    private func parameterGrants(on connection: isolated PostgresConnection) throws -> [Finding] {
        let rows = try connection.query(
            """
            SELECT a.parname, x.privilege_type, coalesce(r.rolname, 'PUBLIC') FROM pg_parameter_acl AS a, aclexplode(a.paracl) AS x
              LEFT JOIN pg_roles AS r ON r.oid = x.grantee
             WHERE NOT coalesce(r.rolsuper, false) AND (a.parname, r.rolname) IS DISTINCT FROM ('fieldseal.maintenance', 'fieldseal_owner')
               AND (x.grantee = 0 OR r.rolname IN \(Self.roles) OR a.parname = 'session_replication_role' OR a.parname LIKE 'fieldseal.%')
             ORDER BY 1, 2, 3
            """)
        return try rows.map { row in
            let (name, privilege): (String, String) = (try row.decode(0), try row.decode(1))
            let role: String = try row.decode(2)
            let effect = name == "session_replication_role" || name.hasPrefix("fieldseal.") ? ", which switches guards off" : ""
            return Finding(
                .error, "guard-setting", "\(role) has the right \(privilege) on the setting \(name)\(effect)",
                advice: "REVOKE \(privilege) ON PARAMETER \(name) FROM \(role), then fieldseal verify")
        }
    }

    /// SQL for the rights that ``catalogGrants(on:)`` reports: the object, the privilege and the role.
    private static let foreignGrants = """
        WITH granted (class, object, part, name, acl, initial) AS (
            SELECT 'pg_proc'::regclass, p.oid, 0, 'the function ' || p.oid::regprocedure, p.proacl, acldefault('f', p.proowner)
              FROM pg_proc AS p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proacl IS NOT NULL
            UNION ALL
            SELECT 'pg_class'::regclass, c.oid, 0, 'the table ' || c.oid::regclass, c.relacl, acldefault('r', c.relowner)
              FROM pg_class AS c WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relacl IS NOT NULL
            UNION ALL
            SELECT 'pg_class'::regclass, a.attrelid, a.attnum, format('the column %s of %s', a.attname, a.attrelid::regclass), a.attacl, acldefault('c', c.relowner)
              FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
             WHERE c.relnamespace = 'pg_catalog'::regnamespace AND a.attacl IS NOT NULL
            UNION ALL
            SELECT 'pg_namespace'::regclass, n.oid, 0, 'the schema pg_catalog', n.nspacl, acldefault('n', n.nspowner)
              FROM pg_namespace AS n WHERE n.nspname = 'pg_catalog' AND n.nspacl IS NOT NULL)
        SELECT DISTINCT g.name, x.privilege_type, coalesce(r.rolname, 'PUBLIC') FROM granted AS g, aclexplode(g.acl) AS x
          LEFT JOIN pg_roles AS r ON r.oid = x.grantee
         WHERE (x.grantee = 0 OR r.rolname IN \(Self.roles))
           AND NOT EXISTS (
            SELECT FROM aclexplode(coalesce((SELECT i.initprivs FROM pg_init_privs AS i
                                              WHERE (i.classoid, i.objoid, i.objsubid) = (g.class, g.object, g.part)), g.initial)) AS y
             WHERE y.privilege_type = x.privilege_type AND y.grantee IN (0, x.grantee))
         ORDER BY 1, 2, 3
        """

    /// Reports rights in `pg_catalog` that the program's roles or PUBLIC have and that PostgreSQL does not grant. Such a right may
    /// be to a function that reads files, to a table with passwords of roles, or to create objects.
    private func catalogGrants(on connection: isolated PostgresConnection) throws -> [Finding] {
        try connection.query(Self.foreignGrants).map { row in
            let (name, privilege): (String, String) = (try row.decode(0), try row.decode(1))
            let role: String = try row.decode(2)
            return Finding(
                .error, "foreign-grant",
                "\(privilege) on \(name) is granted to \(role). PostgreSQL itself does not grant this right",
                advice: "REVOKE the right from \(role), and find out who granted it")
        }
    }

    /// Reports SECURITY DEFINER functions that the service's role may call, and that run as a superuser or as `fieldseal_owner`.
    private func definerFunctions(on connection: isolated PostgresConnection) throws -> [Finding] {
        let rows = try connection.query(
            """
            SELECT p.oid::regprocedure::text, r.rolname, \(Self.extensionName)
              FROM pg_proc AS p JOIN pg_roles AS r ON r.oid = p.proowner JOIN pg_namespace AS n ON n.oid = p.pronamespace
             WHERE p.prosecdef AND p.oid >= 16384 AND (r.rolsuper OR r.rolname = 'fieldseal_owner')
               AND n.nspname NOT IN ('config', 'cell') AND n.nspname NOT IN (SELECT schema_name FROM config.organization)
               AND EXISTS (SELECT FROM pg_roles WHERE rolname = 'fieldseal_service')
               AND has_schema_privilege('fieldseal_service', n.oid, 'USAGE') AND has_function_privilege('fieldseal_service', p.oid, 'EXECUTE')
             ORDER BY 1
            """)
        return try rows.map { row in
            let (function, owner): (String, String) = (try row.decode(0), try row.decode(1))
            let words =
                "fieldseal_service may call the function \(function), which runs with the rights of \(owner) (SECURITY DEFINER)"
            // Anyone with the right can add a function to an extension. The extensions that the program uses define no
            // SECURITY DEFINER function, so a function that seems to belong to them is an error too.
            guard let name: String = try row.decodeIfPresent(2), !Self.ownExtensions.contains(name) else {
                return Finding(
                    .error, "definer-function", words,
                    advice: "REVOKE EXECUTE ON FUNCTION \(function) FROM PUBLIC, fieldseal_service; or drop it")
            }
            return Finding(
                .notice, "definer-function", "\(words) and belongs to the extension \(name)",
                advice: "REVOKE EXECUTE ON FUNCTION \(function) FROM PUBLIC, unless \(name) is known to make it so")
        }
    }

    /// Reports views over tables of `config` that let a role read a table to which it has no right. Views with `security_invoker`
    /// are not reported, because they check the rights of the role that reads.
    private func foreignViews(on connection: isolated PostgresConnection) throws -> [Finding] {
        let rows = try connection.query(
            """
            SELECT DISTINCT v.oid::regclass::text, t.oid::regclass::text, coalesce(r.rolname, 'PUBLIC')
              FROM pg_class AS t JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid
              JOIN pg_rewrite AS w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
              JOIN pg_class AS v ON v.oid = w.ev_class AND v.relkind IN ('v', 'm') AND v.oid <> t.oid
              CROSS JOIN LATERAL aclexplode(v.relacl) AS x LEFT JOIN pg_roles AS r ON r.oid = x.grantee
             WHERE t.relnamespace = 'config'::regnamespace AND v.relnamespace NOT IN (
                   SELECT oid FROM pg_namespace WHERE nspname IN ('config', 'cell')
                   UNION ALL SELECT to_regnamespace(quote_ident(schema_name)) FROM config.organization WHERE to_regnamespace(quote_ident(schema_name)) IS NOT NULL)
               AND x.grantee <> v.relowner AND x.privilege_type = 'SELECT' AND NOT coalesce(r.rolsuper, false)
               AND NOT EXISTS (
                   SELECT FROM pg_options_to_table(v.reloptions) AS o WHERE o.option_name = 'security_invoker' AND o.option_value::boolean)
               AND NOT has_table_privilege(coalesce(r.rolname, 'public'), t.oid, 'SELECT')
             ORDER BY 1, 2, 3
            """)
        return try rows.map { row in
            let (view, table): (String, String) = (try row.decode(0), try row.decode(1))
            let role: String = try row.decode(2)
            return Finding(
                .error, "foreign-view", "\(role) may read the view \(view), and through it \(table), to which it has no right",
                advice: "REVOKE ALL ON \(view) FROM \(role); or drop the view; and find out who made it")
        }
    }

    /// Extensions that the program uses.
    static let ownExtensions = ["pgcrypto", "plpgsql"]

    /// SQL for the extension to which the function `p` belongs; null for a function of no extension.
    private static let extensionName = """
        (SELECT e.extname::text FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
          WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')
        """

    /// Reports functions of pgcrypto that were replaced, or that a function of the same name hides. The recovery functions call
    /// these functions of pgcrypto.
    private func recoveryFunctions(on connection: isolated PostgresConnection) throws -> [Finding] {
        let rows = try connection.query(
            """
            SELECT p.oid::regprocedure::text
              FROM (SELECT p.*, \(Self.extensionName) AS extension FROM pg_proc AS p) AS p
              JOIN pg_language AS l ON l.oid = p.prolang JOIN pg_extension AS e ON e.extname = 'pgcrypto'
             WHERE CASE WHEN p.extension = 'pgcrypto'
                 THEN l.lanname <> 'c' OR p.probin <> '$libdir/pgcrypto' OR p.proname IN ('hmac', 'decrypt_iv') AND p.prosrc <> 'pg_' || p.proname
                 ELSE p.pronamespace = e.extnamespace AND p.proname IN ('hmac', 'decrypt_iv') END
             ORDER BY 1
            """)
        return try rows.map { row in
            Finding(
                .error, "recovery-function-changed",
                "the function \(try row.decode(0, as: String.self)) is not pgcrypto's own function. With it, cell.open may reject "
                    + "undamaged cells",
                advice:
                    "as a superuser, drop the function or DROP EXTENSION pgcrypto. If this database is used for recovery, run "
                    + "fieldseal migrate recovery again. Find out who made the function"
            )
        }
    }

    /// Reports logins that may act as the service's role, or write every table.
    private func serviceLogins(on connection: isolated PostgresConnection) throws -> [Finding] {
        let rows = try connection.query(
            """
            SELECT l.rolname, g.rolname FROM pg_roles AS l JOIN pg_roles AS g ON g.rolname IN ('fieldseal_service', 'pg_write_all_data')
             WHERE l.rolcanlogin AND NOT l.rolsuper AND l.rolname NOT IN ('fieldseal_service', 'fieldseal_owner', 'fieldseal_inspector')
               AND l.rolname <> session_user AND pg_has_role(l.oid, g.oid, 'MEMBER')
               AND NOT EXISTS (SELECT FROM pg_roles AS o WHERE o.rolname = 'fieldseal_owner' AND pg_has_role(l.oid, o.oid, 'MEMBER'))
             ORDER BY 1, 2
            """)
        return try rows.map { row in
            let (login, role): (String, String) = (try row.decode(0), try row.decode(1))
            return Finding(
                .notice, "may-act-as-service", "\(login) may act as \(role), and write what the service writes",
                advice: "REVOKE \(role) FROM \(login), unless you gave it on purpose")
        }
    }
}
