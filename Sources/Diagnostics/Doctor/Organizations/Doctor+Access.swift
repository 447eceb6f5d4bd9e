import PostgresClient
import Tenancy

extension Doctor {
    /// Checks that the roles of the settings reach the database, and have the rights that they need and no others.
    ///
    /// - Throws: ``PostgresError`` when a connection fails.
    package func access() async throws -> [Finding] {
        var findings = try await deployment.pool.withConnection { try service(on: $0) }
        findings += try await connectionStrings() + migrations(of: nil)
        let connection = try await PostgresConnection.connect(administrativeConninfo, applicationName: "fieldseal config check")
        findings += try await connection.run { try administration(on: $0) + database(on: $0) }
        await connection.close()
        return Self.sorted(findings)
    }

    /// Checks that the role for migrations may act as the owner, and is not a superuser.
    private func administration(on connection: isolated PostgresConnection) throws -> [Finding] {
        let row = try connection.query(
            """
            SELECT r.rolname, r.rolsuper,
                   CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = 'fieldseal_owner')
                        THEN pg_has_role(r.oid, 'fieldseal_owner', 'MEMBER') ELSE true END
              FROM pg_roles AS r WHERE r.rolname = current_user
            """)[0]
        let role: String = try row.decode(0)
        if try row.decode(1, as: Bool.self) {
            return [
                Finding(
                    .notice, "migrator-is-superuser",
                    "migrationDatabase connects as \(role), a superuser: only bootstrap needs one",
                    advice: "make a role for it: CREATE ROLE fieldseal_migrator LOGIN IN ROLE fieldseal_owner")
            ]
        }
        guard try !row.decode(2, as: Bool.self) else { return [] }
        return [
            Finding(
                .error, "migrator-is-not-owner", "migrationDatabase connects as \(role), which may not act as fieldseal_owner",
                advice: "GRANT fieldseal_owner TO \(role); or set migrationDatabase to a role that may")
        ]
    }
}
