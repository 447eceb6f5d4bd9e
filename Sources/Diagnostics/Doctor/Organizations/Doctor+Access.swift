import PostgresClient
import Tenancy

extension Doctor {
    /// Checks that the roles in the settings can connect to the database, and have exactly the rights that they need.
    ///
    /// - Throws: ``PostgresError`` when a connection fails.
    package func access() async throws -> [Finding] {
        var findings = try await deployment.pool.withConnection { try service(on: $0) }
        findings += try await connectionStrings() + migrations(of: nil)
        let connection = try await PostgresConnection.connect(administrativeConninfo, applicationName: "fieldseal config check")
        findings += try await connection.run { try administration(on: $0) + administrationPassword(on: $0) + database(on: $0) }
        // If the owner is missing or migrations are pending, this check of rights would only report the same problem again.
        if !findings.contains(where: { $0.severity == .error }) {
            findings += try await connection.run { try serviceRights(on: $0) }
        }
        await connection.close()
        return Self.sorted(findings)
    }

    /// Reports if the password of the role for migrations expires soon. The service's own role is checked elsewhere.
    func administrationPassword(on connection: isolated PostgresConnection) throws -> [Finding] {
        func role(_ conninfo: String) -> String? {
            (try? ConnectionParameters.parse(conninfo))?.last { $0.keyword == "user" }?.value
        }
        return role(administrativeConninfo) == role(deployment.conninfo) ? [] : try passwordExpiry(on: connection)
    }

    /// Checks that the role for migrations may act as the owner, and is not a superuser.
    private func administration(on connection: isolated PostgresConnection) throws -> [Finding] {
        let row = try connection.query(
            """
            SELECT r.rolname, r.rolsuper,
                   CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = 'fieldseal_owner')
                        THEN pg_has_role(r.oid, 'fieldseal_owner', 'MEMBER') ELSE true END,
                   EXISTS (SELECT FROM pg_roles AS s WHERE s.rolname = 'fieldseal_service' AND pg_has_role(r.oid, s.oid, 'MEMBER'))
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
                advice: try row.decode(3)
                    ? "set migrationDatabase to the role that migrates, such as fieldseal_migrator: \(role) is the service's role, which must "
                        + "not have the owner's rights"
                    : "GRANT fieldseal_owner TO \(role); or set migrationDatabase to a role that may")
        ]
    }
}
