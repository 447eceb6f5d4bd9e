import Foundation
import PostgresClient
import Tenancy

extension Doctor {
    /// Reports roles of users and teams, and members of teams with roles, that this service did not write. Also reports roles whose
    /// names in the table `role` were changed since the first grant.
    func grantedRoles(_ state: OrganizationState, on connection: isolated PostgresConnection) throws -> [Finding] {
        let all = try RoleGrants(of: state.organization, on: connection)
        let changed = try all.roles.filter { try state.grants.names($0.name) && !state.grants.holds($0, under: deployment.kek) }
        let foreign = try all.rows.filter { try $0.isPowerful && !state.grants.holds($0.grant, under: deployment.kek) }
        return foreign.map { row in
            Finding(
                .error, "role-not-given-here", state.organization.name,
                "the \(row.title) was written by SQL and not by this service. The row gives no rights",
                advice: "find out who wrote the row and delete it; or have an administrator give the role, or add the member, again"
            )
        }
            + (changed.isEmpty
                ? []
                : [
                    Finding(
                        .error, "role-record-changed", state.organization.name,
                        "the names of \(changed.count) records in the organization's table role were changed by SQL. These roles "
                            + "can't be given",
                        advice: "restore the table role from a backup")
                ])
    }
}
