import Organizations
import PostgresClient
import Tenancy

extension Doctor {
    /// How many unreadable times are reported for each organization.
    private static let momentLimit = 100

    /// Reports times that clients can't read. The cost grows with the number of records.
    func moments(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Finding] {
        try UnreadableMoment.find(in: organization, limit: Self.momentLimit, on: connection).map { moment in
            Finding(
                .warning, "moment-unreadable", organization.name,
                "\(moment.column) of the row \(moment.row) of \(moment.table) is infinite, or outside of the years 1 to 9999: clients see another moment, and an export with it can't be imported",
                advice: "find out who wrote it; then set the column to NULL or to a moment within those years")
        }
    }

    /// Reports roles of the program that SQL deleted.
    func missingRoles(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Finding] {
        let missing = try RoleGrants.missing(in: organization, on: connection)
        guard !missing.isEmpty else { return [] }
        return [
            Finding(
                .error, "roles-missing", organization.name,
                "the organization's table role lacks \(missing.map(\.rawValue).joined(separator: ", ")): SQL deleted or renamed "
                    + "these roles. Users and teams that had such a role by a record lost it",
                advice: "find out who did it; fieldseal org attach \(organization.name) puts the roles back; then give the roles "
                    + "again")
        ]
    }

    /// Reports missing records that the service needs. Clients can't delete such records, so SQL did.
    func missingRecords(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Finding] {
        let row = try connection.query(
            """
            SELECT EXISTS (SELECT FROM \(organization.qualified("organization")) WHERE organizationid = $1), count(*),
                   coalesce((array_agg(u.systemuserid::text ORDER BY u.systemuserid))[1], '')
              FROM \(organization.qualified("systemuser")) AS u
             WHERE NOT EXISTS (SELECT FROM \(organization.qualified("usersettings")) AS s WHERE s.systemuserid = u.systemuserid)
            """, [.uuid(organization.id)])[0]
        var findings: [Finding] = []
        if try !row.decode(0, as: Bool.self) {
            findings.append(
                Finding(
                    .error, "organization-record-missing", organization.name,
                    "the table organization has no record of this organization: its settings, such as those for e-mail, were "
                        + "deleted by SQL",
                    advice: "find out who did it, and restore the row from a backup"))
        }
        let users: Int = try row.decode(1)
        if users > 0 {
            findings.append(
                Finding(
                    .warning, "user-settings-missing", organization.name,
                    "\(users) users have no row in usersettings, such as \(try row.decode(2, as: String.self)): their settings and "
                        + "passwords were deleted by SQL",
                    advice: "find out who did it, and restore the rows and their cells from a backup"))
        }
        return findings
    }
}
