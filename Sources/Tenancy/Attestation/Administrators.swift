import Foundation
import JSON
import Model
package import PostgresClient

/// The System Administrators of an organization. No change may remove the last System Administrator by accident.
enum Administrators: CaseIterable {
    /// People of the console who are System Administrators.
    case people
    /// API clients that are System Administrators. Clients count only if no person is a System Administrator.
    case clients

    fileprivate var refusal: FieldsealError {
        switch self {
        case .people:
            FieldsealError(
                .invalidArgument,
                "This is the last System Administrator, and the organization needs one. Give another person that role first."
            )
        case .clients:
            FieldsealError(
                .invalidArgument,
                "This is the last client in the role System Administrator, and no person has that role. Give it to a person or to another client first."
            )
        }
    }
}

extension AttestedChange {
    /// Makes a change, and throws if it removed the last System Administrator. The attested state's row is locked, so two
    /// administrators can't disable each other at the same moment.
    ///
    /// Each change that disables a person, a client or a systemuser, or removes a role or a membership, is made with this function.
    ///
    /// This prevents accidents, not attacks. If SQL hides rows, only the rows that are found are counted, because revoking access
    /// must always be possible.
    ///
    /// - Parameter evenIfLast: Whether to make the change even if it removes the last System Administrator.
    /// - Throws: ``FieldsealError`` `.invalidArgument` that says what to do first.
    package mutating func keepingAnAdministrator<Result>(
        evenIfLast: Bool = false, on connection: isolated PostgresConnection,
        _ body: (inout AttestedChange) throws -> Result
    ) throws -> Result {
        guard !evenIfLast else { return try body(&self) }
        let former = try Administrators.allCases.first { try count($0, on: connection) > 0 }
        let result = try body(&self)
        if let former, try count(former, on: connection) == 0 { throw former.refusal }
        return result
    }

    /// The number of System Administrators, people and clients together.
    func administrators(on connection: isolated PostgresConnection) throws -> Int {
        try Administrators.allCases.reduce(0) { try $0 + count($1, on: connection) }
    }

    private func count(_ administrators: Administrators, on connection: isolated PostgresConnection) throws -> Int {
        switch administrators {
        case .people: try people(on: connection)
        case .clients: try clients(on: connection)
        }
    }

    private func people(on connection: isolated PostgresConnection) throws -> Int {
        let rows = try connection.query(
            """
            SELECT u.user_id, u.organization_id, u.name, u.systemuser_id, u.role, u.salt, u.verifier, u.tag, u.totp,
                   u.must_change_password
              FROM config.console_user AS u \(mayAdministrate("u"))
            """, [.uuid(organization.id), .text(Role.systemAdministrator.rawValue)])
        return try rows.count { row in
            func bytes(_ column: Int) throws -> [UInt8] { try row.decode(column, as: PostgresBytes.self).bytes }
            let (user, role): (UUID, String) = (try row.decode(3), try row.decode(4))
            let grant = Grant.person(
                try row.decode(0), organization: try row.decode(1), name: try row.decode(2), systemUser: user, role: role,
                salt: try bytes(5), verifier: try bytes(6), totp: row.isNull(8) ? nil : try bytes(8), disabledOn: nil,
                mustChangePassword: try row.decode(9))
            return try grants.authenticates(grant, tag: try bytes(7), under: kek) && isAdministrator(user, role, on: connection)
        }
    }

    private func clients(on connection: isolated PostgresConnection) throws -> Int {
        let rows = try connection.query(
            "SELECT c.client_id, c.name, c.systemuser_id, c.role, c.tag FROM config.api_client AS c \(mayAdministrate("c"))",
            [.uuid(organization.id), .text(Role.systemAdministrator.rawValue)])
        return try rows.count { row in
            let (user, role): (UUID, String) = (try row.decode(2), try row.decode(3))
            let grant = OrganizationState.ClientRow.grant(
                try row.decode(0), organization, name: try row.decode(1), systemUser: user, role: role, disabledOn: nil)
            return try grants.authenticates(grant, tag: try row.decode(4, as: PostgresBytes.self).bytes, under: kek)
                && isAdministrator(user, role, on: connection)
        }
    }

    /// The end of a statement over people or clients. The statement selects people or clients that are enabled, act as an enabled
    /// systemuser, and have the role `$2`, directly or by records. Callers check whether each row is attested.
    private func mayAdministrate(_ alias: String) -> String {
        func table(_ name: String) -> String { organization.qualified(name) }
        return """
            JOIN \(table("systemuser")) AS s ON s.systemuserid = \(alias).systemuser_id AND NOT coalesce(s.isdisabled, false)
             WHERE \(alias).organization_id = $1 AND \(alias).disabled_on IS NULL
               AND (\(alias).role = $2
                    OR EXISTS (SELECT FROM \(table("systemuserroles")) AS g JOIN \(table("role")) AS r USING (roleid)
                                WHERE g.systemuserid = s.systemuserid AND r.name = $2)
                    OR EXISTS (SELECT FROM \(table("teammembership")) AS m JOIN \(table("teamroles")) AS t USING (teamid)
                                 JOIN \(table("role")) AS r USING (roleid)
                                WHERE m.systemuserid = s.systemuserid AND r.name = $2))
            """
    }

    /// Whether a systemuser is a System Administrator, directly or by records that this service wrote, and this service did not
    /// disable it.
    private func isAdministrator(_ user: UUID, _ role: String, on connection: isolated PostgresConnection) throws -> Bool {
        guard try !grants.names(Grant.disabledSystemUser(user).name) else { return false }
        let name = Role.systemAdministrator.rawValue
        return try role == name
            || GrantedRole.rows(of: user, in: organization, on: connection).contains {
                try $0.name == name && $0.isAuthentic(in: grants, under: kek)
            }
    }
}
