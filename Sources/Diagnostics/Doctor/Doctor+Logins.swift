import PostgresClient

extension Doctor {
    /// Reports logins that can read wrapped keys and verifiers, or become the owner or a superuser, without being a member of one
    /// of the program's roles. The program's own roles and superusers are checked elsewhere.
    func powerfulLogins(on connection: isolated PostgresConnection) throws -> [Finding] {
        try connection.query(Self.powers).map { row in
            let (login, power): (String, String) = (try row.decode(0), try row.decode(1))
            let role: String = try row.decode(2)
            let isOwn = login == role
            let words =
                switch power {
                case "SUPERUSER": "\(login) may act as \(role), a superuser, for whom no guard holds"
                case "CREATEROLE" where isOwn: "\(login) has the attribute CREATEROLE, and can become fieldseal_owner"
                case "CREATEROLE": "\(login) may act as \(role), which has the attribute CREATEROLE and can become fieldseal_owner"
                case "REPLICATION" where isOwn:
                    "\(login) has the attribute REPLICATION, and can copy the database with its wrapped keys and verifiers"
                case "REPLICATION":
                    "\(login) may act as \(role), which has the attribute REPLICATION and can copy the database with its wrapped keys and "
                        + "verifiers"
                case "pg_execute_server_program", "pg_write_server_files":
                    "\(login) may act as \(role), and become a superuser by programs or files of the server"
                case "pg_read_server_files":
                    "\(login) may act as \(role), and read the files of the database with its wrapped keys and verifiers"
                default: "\(login) may act as \(role), and read the wrapped keys and verifiers"
                }
            let isReader = ["REPLICATION", "pg_read_all_data", "pg_read_server_files"].contains(power)
            let change =
                ["CREATEROLE", "REPLICATION"].contains(power)
                ? "ALTER ROLE \(quoteIdentifier(role)) NO\(power)"
                : "REVOKE \(quoteIdentifier(role)) FROM \(quoteIdentifier(login))"
            return Finding(
                .notice, isReader ? "may-read-keys" : "may-act-as-owner", words, advice: "\(change), unless you gave it on purpose")
        }
    }

    /// SQL for each login, power, and role that has the power and as which the login may act. A login may always act as itself. From
    /// PostgreSQL 16 on, CREATEROLE alone does not allow to grant a role.
    private static let powers = """
        WITH powerful (oid, rolname, power) AS (
            SELECT oid, rolname, rolname::text FROM pg_roles
             WHERE rolname IN ('pg_read_all_data', 'pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')
            UNION ALL
            SELECT oid, rolname, 'SUPERUSER' FROM pg_roles WHERE rolsuper
            UNION ALL
            SELECT oid, rolname, 'CREATEROLE' FROM pg_roles WHERE rolcreaterole AND current_setting('server_version_num')::integer < 160000
            UNION ALL
            SELECT oid, rolname, 'REPLICATION' FROM pg_roles WHERE rolreplication)
        SELECT l.rolname::text, p.power, p.rolname::text FROM pg_roles AS l JOIN powerful AS p ON pg_has_role(l.oid, p.oid, 'MEMBER')
         WHERE l.rolcanlogin AND NOT l.rolsuper AND l.rolname NOT IN (session_user, 'fieldseal_service', 'fieldseal_owner', 'fieldseal_inspector')
           AND NOT (p.power <> 'SUPERUSER' AND EXISTS (SELECT FROM pg_roles AS s WHERE s.oid = p.oid AND s.rolsuper))
         ORDER BY 1, 2, 3
        """
}
