package import Foundation
import JSON
import Model
package import PostgresClient

/// The roles of the people who act as certain systemusers: by their own row, and by records.
package struct PeopleRoles {
    private let users: [UUID]
    private let roles: [UUID: RoleSet]

    /// Reads the roles as they are now.
    package init(
        actingAs users: [UUID], in change: AttestedChange, on connection: isolated PostgresConnection
    ) throws {
        self.users = users
        let people = try connection.query(
            "SELECT user_id, systemuser_id, role FROM config.console_user WHERE organization_id = $1 AND systemuser_id = ANY ($2)",
            [.uuid(change.organization.id), .uuids(users)])
        var roles: [UUID: RoleSet] = [:]
        for row in people {
            var all = Role(rawValue: try row.decode(2)).map { RoleSet($0) } ?? []
            for granted in try GrantedRole.rows(of: try row.decode(1), in: change.organization, on: connection) {
                guard let role = Role(rawValue: granted.name), try granted.isAuthentic(in: change.grants, under: change.kek) else {
                    continue
                }
                all.insert(role)
            }
            roles[try row.decode(0)] = all
        }
        self.roles = roles
    }

    /// Ends the former access of the people who have got rights since these roles were read.
    package func endFormerAccess(
        _ change: inout AttestedChange, by caller: Caller, _ hashing: PasswordHashing, on connection: isolated PostgresConnection
    ) throws {
        guard !roles.isEmpty else { return }
        let now = try PeopleRoles(actingAs: users, in: change, on: connection)
        for (person, roles) in now.roles where roles.adds(to: self.roles[person] ?? []) {
            try change.endFormerAccess(of: person, by: caller, hashing, on: connection)
        }
    }
}
