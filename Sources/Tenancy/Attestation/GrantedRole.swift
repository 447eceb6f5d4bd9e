package import CellCrypto
package import Foundation
import JSON
import Model
package import PostgresClient

/// A role that a record gives to a user, directly or as a member of a team. The role has an effect only if the attested list has
/// it.
struct GrantedRole: Sendable {
    let user: UUID
    /// The team that has the role; nil if the user has it directly.
    let team: UUID?
    let roleID: UUID
    /// The role's name in its record.
    let name: String

    /// The roles that the records of an organization give to a user.
    static func rows(of user: UUID, in organization: Organization, on connection: isolated PostgresConnection) throws
        -> [GrantedRole]
    {
        func table(_ name: String) -> String { organization.qualified(name) }
        return try connection.query(
            """
            SELECT NULL::uuid, s.roleid, r.name FROM \(table("systemuserroles")) AS s JOIN \(table("role")) AS r USING (roleid)
             WHERE s.systemuserid = $1
            UNION ALL
            SELECT m.teamid, t.roleid, r.name FROM \(table("teammembership")) AS m JOIN \(table("teamroles")) AS t USING (teamid)
              JOIN \(table("role")) AS r USING (roleid) WHERE m.systemuserid = $1
            """, [.uuid(user)]
        ).map {
            GrantedRole(user: user, team: try $0.decodeIfPresent(0), roleID: try $0.decode(1), name: try $0.decode(2))
        }
    }

    /// Whether this service granted the role. If the user has the role through a team: also whether this service made the user a
    /// member.
    func isAuthentic(in grants: GrantList, under kek: KeyEncryptionKey) throws -> Bool {
        guard let team else { return try grants.holds(Grant.userRole(roleID, name, of: user), under: kek) }
        return try grants.holds(Grant.teamRole(roleID, name, of: team), under: kek)
            && grants.holds(Grant.member(user, of: team), under: kek)
    }
}

extension OrganizationState {
    /// The roles that records give to a systemuser, in addition to the role of the client or person that acts as it.
    ///
    /// In an organization without granted roles, nothing is read.
    package func grantedRoles(of user: UUID, under kek: KeyEncryptionKey, on connection: isolated PostgresConnection) throws
        -> RoleSet
    {
        guard problem == nil, try grants.names(Grant.rolesWereGiven.name) else { return [] }
        var roles: RoleSet = []
        for row in try GrantedRole.rows(of: user, in: organization, on: connection) {
            // Passwords are released to an Email Router, so records can't give that role.
            guard let role = Role(rawValue: row.name), role != .emailRouter, try row.isAuthentic(in: grants, under: kek) else {
                continue
            }
            roles.insert(role)
        }
        return roles
    }

    /// The roles of a team.
    package func roles(ofTeam team: UUID, under kek: KeyEncryptionKey, on connection: isolated PostgresConnection) throws -> RoleSet
    {
        let rows = try connection.query(
            """
            SELECT t.roleid, r.name FROM \(organization.qualified("teamroles")) AS t
              JOIN \(organization.qualified("role")) AS r USING (roleid) WHERE t.teamid = $1
            """, [.uuid(team)])
        var roles: RoleSet = []
        for row in rows {
            let name: String = try row.decode(1)
            guard let role = Role(rawValue: name), try grants.holds(Grant.teamRole(try row.decode(0), name, of: team), under: kek)
            else { continue }
            roles.insert(role)
        }
        return roles
    }
}

// Links that grant access. Rows of links have no tag, so only the list says that this service made the links.
extension Grant {
    package static func userRole(_ role: UUID, _ name: String, of user: UUID) -> Grant {
        Grant(Name(.userRole, [user.bytes, role.bytes]), [field(name)])
    }

    package static func teamRole(_ role: UUID, _ name: String, of team: UUID) -> Grant {
        Grant(Name(.teamRole, [team.bytes, role.bytes]), [field(name)], in: links(of: team))
    }

    package static func member(_ user: UUID, of team: UUID) -> Grant {
        Grant(Name(.teamMember, [team.bytes, user.bytes]), in: links(of: team))
    }

    /// The group of all roles and members of a team.
    package static func links(of team: UUID) -> Name { Name(.links, [team.bytes]) }

    /// Binds a record of `role` to its name, so that renaming the record does not change which role it gives.
    package static func role(_ id: UUID, _ name: String) -> Grant { Grant(Name(.role, [id.bytes]), [field(name)]) }

    /// The list has this entry once any role was granted. Organizations without this entry need no query for roles.
    package static let rolesWereGiven = Grant(Name(.rolesWereGiven, []))
}
