import Model
import PostgresClient
import Tenancy

extension Organization {
    /// A subquery with the rows of `systemuserroles`: the roles that users were given, and the roles of clients and console users
    /// that act as systemusers.
    package var userRoles: String {
        let given = qualified(EntityDefinition.systemUserRoles.logicalName)
        return """
            (SELECT g.systemuserroleid, g.systemuserid, g.roleid, g.versionnumber FROM \(given) AS g
            UNION ALL
            SELECT DISTINCT md5(a.systemuser_id::text || ' ' || r.roleid::text)::uuid, a.systemuser_id, r.roleid, r.versionnumber
              FROM (SELECT systemuser_id, role, disabled_on, organization_id FROM config.api_client
                    UNION ALL SELECT systemuser_id, role, disabled_on, organization_id FROM config.console_user) AS a
              JOIN \(qualified("role")) AS r ON r.name = a.role
              JOIN \(qualified("organization")) AS o ON o.organizationid = a.organization_id
             WHERE a.disabled_on IS NULL
               AND NOT EXISTS (SELECT FROM \(given) AS g WHERE (g.systemuserid, g.roleid) = (a.systemuser_id, r.roleid)))
            """
    }
}
