package import CellCrypto
import Foundation
import JSON
import Model
package import PostgresClient

/// The rows of an organization that give roles, for code that checks all of them.
package struct RoleGrants {
    /// A row, with a title for messages.
    package struct Row: Sendable {
        package let grant: Grant
        package let title: String
        /// Whether the row would grant something if it were attested.
        package let isPowerful: Bool
    }

    package let rows: [Row]
    /// The records of the roles themselves.
    package let roles: [Grant]

    package init(of organization: Organization, on connection: isolated PostgresConnection) throws {
        func table(_ name: String) -> String { organization.qualified(name) }
        let names = try connection.query("SELECT roleid, name FROM \(table("role"))").map {
            (id: try $0.decode(0, as: UUID.self), name: try $0.decode(1, as: String.self))
        }
        roles = names.map { Grant.role($0.id, $0.name) }
        let byID = Dictionary(names.map { ($0.id, $0.name) }) { first, _ in first }
        func name(_ id: UUID) -> String { byID[id] ?? "" }
        let users = try connection.query("SELECT systemuserid, roleid FROM \(table("systemuserroles")) ORDER BY 1, 2").map { row in
            let (user, role): (UUID, UUID) = (try row.decode(0), try row.decode(1))
            return Row(
                grant: .userRole(role, name(role), of: user), title: "role \(name(role)) of the systemuser \(user.text)",
                isPowerful: true)
        }
        let teams = try connection.query("SELECT teamid, roleid FROM \(table("teamroles")) ORDER BY 1, 2").map { row in
            let (team, role): (UUID, UUID) = (try row.decode(0), try row.decode(1))
            return Row(
                grant: .teamRole(role, name(role), of: team), title: "role \(name(role)) of the team \(team.text)", isPowerful: true
            )
        }
        let members = try connection.query(
            """
            SELECT m.teamid, m.systemuserid, EXISTS (SELECT FROM \(table("teamroles")) AS t WHERE t.teamid = m.teamid)
              FROM \(table("teammembership")) AS m ORDER BY 1, 2
            """
        ).map { row in
            let (team, user): (UUID, UUID) = (try row.decode(0), try row.decode(1))
            return Row(
                grant: .member(user, of: team), title: "systemuser \(user.text) in the team \(team.text)",
                isPowerful: try row.decode(2))
        }
        rows = users + teams + members
    }

    /// The roles of the program that the table `role` lacks.
    package static func missing(in organization: Organization, on connection: isolated PostgresConnection) throws -> [Role] {
        let names = try connection.query("SELECT name FROM \(organization.qualified("role"))").map {
            try $0.decode(0, as: String.self)
        }
        return Role.allCases.filter { !names.contains($0.rawValue) }
    }

    /// Copies the entries of these rows from an earlier list.
    ///
    /// - Returns: The titles of the rows that would grant something, but do not, because the earlier list does not attest them.
    package func keep(from former: GrantList?, in grants: inout GrantList, under kek: KeyEncryptionKey) throws -> [String] {
        for role in roles {
            if let former, try former.names(role.name) {
                try grants.take(role.name, from: former)
            } else {
                try grants.set(role, under: kek)
            }
        }
        if let former { try grants.take(Grant.rolesWereGiven.name, from: former) }
        return try rows.compactMap { row in
            if let former, try former.holds(row.grant, under: kek) {
                try grants.set(row.grant, under: kek)
                return nil
            }
            return row.isPowerful ? row.title : nil
        }
    }
}
