import PostgresClient

// Checks of objects that are outside of the program's schemas and affect the schemas: roles, settings, rights to the database,
// publications, and functions of PostgreSQL itself.
extension Doctor {
    /// Checks that roles, settings and PostgreSQL's own objects do not disable the guards.
    func surroundings(on connection: isolated PostgresConnection) throws -> [Finding] {
        try guardSettings(on: connection) + serviceSettings(on: connection) + roleAttributes(on: connection)
            + memberships(on: connection) + databaseRights(on: connection) + temporaryObjects(on: connection)
            + publications(on: connection) + systemObjects(on: connection) + privileges(on: connection)
            + longHeldLocks(on: connection)
    }

    /// SQL for the statement that changes a setting of `pg_db_role_setting`, up to its `RESET`.
    private static let alteration = """
        CASE WHEN s.setrole = 0 AND s.setdatabase <> 0 THEN format('ALTER DATABASE %I', current_database())
             ELSE 'ALTER ROLE ' || CASE WHEN s.setrole = 0 THEN 'ALL' ELSE coalesce(quote_ident(r.rolname), '…') END
                  || CASE WHEN s.setdatabase <> 0 THEN format(' IN DATABASE %I', current_database()) ELSE '' END END
        """

    /// The advice for a setting. PostgreSQL finds a setting that was written in upper case only by a quoted name.
    private static func reset(_ name: String, by alteration: String) -> String {
        "\(alteration) RESET \(name == name.lowercased() ? name : quoteIdentifier(name)), and find out who set it"
    }

    /// Reports settings of roles, databases or the server that switch guards off. Only single sessions may switch them off, for
    /// maintenance.
    private func guardSettings(on connection: isolated PostgresConnection) throws -> [Finding] {
        let rows = try connection.query(
            """
            SELECT DISTINCT split_part(c, '=', 1), CASE WHEN r.rolname IS NOT NULL THEN 'the role ' || r.rolname ELSE 'the database' END,
                   \(Self.alteration)
              FROM pg_db_role_setting AS s LEFT JOIN pg_roles AS r ON r.oid = s.setrole, unnest(s.setconfig) AS c
             WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
               AND c ~* '^(fieldseal\\.|session_replication_role=)'
            UNION
            SELECT name, 'the server', 'ALTER …'
              FROM unnest(ARRAY['fieldseal.maintenance', 'fieldseal.evidence', 'fieldseal.switch', 'fieldseal.rewrap', 'session_replication_role']) AS name
             WHERE coalesce(current_setting(name, true), '') NOT IN ('', 'origin')
               AND NOT EXISTS (SELECT FROM pg_db_role_setting AS s, unnest(s.setconfig) AS c WHERE starts_with(lower(c), name || '='))
            """)
        return try rows.map { row in
            let (name, place): (String, String) = (try row.decode(0), try row.decode(1))
            return Finding(
                .error, "guard-setting", "\(place) sets \(name), which switches guards off in every session",
                advice: Self.reset(name, by: try row.decode(2)))
        }
    }

    /// The settings that can keep the service from connecting, from writing or from changing a key.
    private static let stoppingSettings = [
        "default_transaction_read_only", "default_transaction_deferrable", "local_preload_libraries", "session_preload_libraries",
        "role", "default_tablespace", "temp_tablespaces", "default_table_access_method", "transaction_timeout", "exit_on_error",
        "restrict_nonsystem_relation_kind", "tcp_user_timeout", "plpgsql.extra_errors",
    ]

    /// Reports settings of the service's role that can stop it. A login may change its own role's settings, for all databases or for
    /// one of them.
    private func serviceSettings(on connection: isolated PostgresConnection) throws -> [Finding] {
        let rows = try connection.query(
            """
            SELECT DISTINCT split_part(c, '=', 1), \(Self.alteration)
              FROM pg_db_role_setting AS s JOIN pg_roles AS r ON r.oid = s.setrole, unnest(s.setconfig) AS c
             WHERE r.rolname = 'fieldseal_service'
               AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
               AND lower(split_part(c, '=', 1)) = ANY ($1)
             ORDER BY 1, 2
            """, [.texts(Self.stoppingSettings)])
        return try rows.map { row in
            let name: String = try row.decode(0)
            return Finding(
                .error, "role-setting", "the role fieldseal_service has a setting of its own, \(name), which can stop the service",
                advice: Self.reset(name, by: try row.decode(1)))
        }
    }

    private func roleAttributes(on connection: isolated PostgresConnection) throws -> [Finding] {
        let rows = try connection.query(
            """
            SELECT rolname, concat_ws(', ', CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
                       CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
                       CASE WHEN rolbypassrls THEN 'BYPASSRLS' END, CASE WHEN rolcanlogin AND rolname <> 'fieldseal_service' THEN 'LOGIN' END)
              FROM pg_roles WHERE rolname IN ('fieldseal_service', 'fieldseal_owner', 'fieldseal_inspector') ORDER BY 1
            """)
        return try rows.compactMap { row in
            let (role, attributes): (String, String) = (try row.decode(0), try row.decode(1))
            guard !attributes.isEmpty else { return nil }
            return Finding(
                .error, "role-attributes", "the role \(role) has attributes that the program does not give it: \(attributes)",
                advice: "remove them: ALTER ROLE \(role) NO…")
        }
    }

    /// Reports roles of which the program's roles are members, and logins that may act as the owner.
    private func memberships(on connection: isolated PostgresConnection) throws -> [Finding] {
        let rows = try connection.query(
            """
            SELECT m.rolname, g.rolname FROM pg_auth_members AS a JOIN pg_roles AS m ON m.oid = a.member JOIN pg_roles AS g ON g.oid = a.roleid
             WHERE m.rolname IN ('fieldseal_service', 'fieldseal_owner', 'fieldseal_inspector')
               AND (m.rolname, g.rolname) NOT IN (('fieldseal_owner', 'pg_read_all_stats'), ('fieldseal_service', 'fieldseal_owner'))
             ORDER BY 1, 2
            """)
        var findings = try rows.map { row in
            let (member, role): (String, String) = (try row.decode(0), try row.decode(1))
            return Finding(
                .error, "role-membership", "the role \(member) may act as \(role)", advice: "REVOKE \(role) FROM \(member)")
        }
        let owners = try connection.query(
            """
            SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper AND rolname NOT IN (session_user, 'fieldseal_service', 'fieldseal_owner')
               AND EXISTS (SELECT FROM pg_roles WHERE rolname = 'fieldseal_owner') AND pg_has_role(oid, 'fieldseal_owner', 'MEMBER') ORDER BY 1
            """)
        findings += try owners.map { row in
            let role: String = try row.decode(0)
            return Finding(
                .notice, "may-act-as-owner", "\(role) may act as fieldseal_owner, and remove guards",
                advice: "REVOKE fieldseal_owner FROM \(role), unless it migrates this deployment")
        }
        return findings
    }

    /// Reports rights to create objects in the database, or in the schema `public`, which is on PostgreSQL's default search path.
    private func databaseRights(on connection: isolated PostgresConnection) throws -> [Finding] {
        let rows = try connection.query(
            """
            SELECT place, coalesce(r.rolname, 'PUBLIC')
              FROM (SELECT 'the database' AS place, datdba AS owner, x.* FROM pg_database, aclexplode(datacl) AS x WHERE datname = current_database()
                    UNION ALL
                    SELECT 'the schema public', nspowner, x.* FROM pg_namespace, aclexplode(nspacl) AS x WHERE nspname = 'public') AS a
              LEFT JOIN pg_roles AS r ON r.oid = a.grantee
             WHERE a.privilege_type = 'CREATE' AND a.grantee <> a.owner AND r.rolname IS DISTINCT FROM 'fieldseal_owner' ORDER BY 1, 2
            """)
        return try rows.map { row in
            let (place, role): (String, String) = (try row.decode(0), try row.decode(1))
            let isOurs = ["PUBLIC", "fieldseal_service", "fieldseal_inspector"].contains(role)
            return Finding(
                isOurs ? .error : .notice, "foreign-grant", "CREATE on \(place) is granted to \(role)",
                advice: "REVOKE CREATE ON \(place.dropFirst("the ".count)) FROM \(role)")
        }
    }

    /// Reports the right of the service's role to make temporary objects. SQL under that login could create temporary types and
    /// casts, and so make the owner's functions run its code.
    private func temporaryObjects(on connection: isolated PostgresConnection) throws -> [Finding] {
        let rows = try connection.query(
            """
            SELECT current_database() FROM pg_roles
             WHERE rolname = 'fieldseal_service' AND has_database_privilege(oid, current_database(), 'TEMPORARY')
            """)
        return try rows.map { row in
            let database = quoteIdentifier(try row.decode(0))
            return Finding(
                .warning, "foreign-grant", "fieldseal_service may make temporary tables and types in the database, and needs none",
                advice: "fieldseal migrate bootstrap, or: REVOKE TEMPORARY ON DATABASE \(database) FROM PUBLIC")
        }
    }

    private func publications(on connection: isolated PostgresConnection) throws -> [Finding] {
        let rows = try connection.query(
            """
            SELECT t.pubname::text, t.schemaname::text, count(*), bool_or(t.tablename ~ '_cell(_k[0-9]+)?$' OR t.schemaname = 'config')
              FROM pg_publication_tables AS t
             WHERE t.schemaname = 'config' OR t.schemaname IN (SELECT schema_name FROM config.organization)
             GROUP BY 1, 2 ORDER BY 1, 2
            """)
        return try rows.map { row in
            let hasSecrets: Bool = try row.decode(3)
            return Finding(
                hasSecrets ? .error : .warning, "published-tables",
                "the publication \(try row.decode(0, as: String.self)) sends \(try row.decode(2, as: Int.self)) tables of "
                    + "\(try row.decode(1, as: String.self)) to its subscribers\(hasSecrets ? ", with cells or wrapped keys" : "")",
                advice: "DROP PUBLICATION, unless you made it on purpose")
        }
    }

    /// SQL for foreign objects in `pg_catalog`: type, identity and extension. PostgreSQL's own objects have oids below 16384.
    private static let foreignObjects = """
        WITH foreign_object AS (
            SELECT 'pg_proc'::regclass AS class, p.oid FROM pg_proc AS p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.oid >= 16384
            UNION ALL
            SELECT 'pg_operator'::regclass, o.oid FROM pg_operator AS o WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oid >= 16384
            UNION ALL
            SELECT 'pg_cast'::regclass, c.oid FROM pg_cast AS c JOIN pg_type AS s ON s.oid = c.castsource JOIN pg_type AS t ON t.oid = c.casttarget
             WHERE c.oid >= 16384 AND s.typnamespace = 'pg_catalog'::regnamespace AND t.typnamespace = 'pg_catalog'::regnamespace
        )
        SELECT i.type, i.identity, e.extname::text FROM foreign_object AS f
          LEFT JOIN pg_depend AS d ON d.classid = f.class AND d.objid = f.oid AND d.deptype = 'e'
          LEFT JOIN pg_extension AS e ON e.oid = d.refobjid, pg_identify_object(f.class, f.oid, 0) AS i
        UNION ALL
        SELECT 'function', p.oid::regprocedure::text, NULL FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
         WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.oid < 16384 AND l.lanname <> 'internal'
           AND p.proname = ANY ('{sha256,convert_to,jsonb_build_array,clock_timestamp,current_setting,set_config,lower,encode,decode,nextval}')
         ORDER BY 2
        """

    /// Reports functions and operators of `pg_catalog`, and casts between PostgreSQL's own types, that are not part of PostgreSQL.
    /// Also reports replaced functions of PostgreSQL on which evidence depends.
    private func systemObjects(on connection: isolated PostgresConnection) throws -> [Finding] {
        let rows = try connection.query(Self.foreignObjects)
        return try rows.map { row in
            let what = "the \(try row.decode(0, as: String.self)) \(try row.decode(1, as: String.self)) of pg_catalog"
            guard let name: String = try row.decodeIfPresent(2), !Self.ownExtensions.contains(name) else {
                return Finding(
                    .error, "system-object-changed", "\(what) is not PostgreSQL's own",
                    advice: "find out who made it; restore the database into a new cluster")
            }
            return Finding(
                .notice, "system-object-changed", "\(what) belongs to the extension \(name)",
                advice: "find out who made it, unless \(name) is known to make it")
        }
    }
}
