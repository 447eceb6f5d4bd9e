import Foundation
import JSON
import Model
import PostgresClient
package import Tenancy

extension Session {
    /// This session in the name of another user. The new session has only the rights that both users have.
    ///
    /// Records that the new session creates are owned by `user`, and their `createdonbehalfby` is this session's user. Security
    /// events name both users. Call it on the session of the client itself, not on a session that impersonates already.
    ///
    /// - Throws: ``FieldsealError`` `.privilegeDenied` for a caller that is not a System Administrator, and for a user without a
    ///   role; `.notAUser` for a user that is unknown or disabled.
    package func impersonating(_ user: ImpersonatedUser) async throws -> Session {
        guard caller.role == .systemAdministrator, caller.impersonation == nil, let delegate = caller.systemUserID else {
            throw FieldsealError(
                .privilegeDenied,
                "Only a System Administrator may act for another user (prvActOnBehalfOfAnotherUser). Leave MSCRMCallerID and "
                    + "CallerObjectId out.")
        }
        let found = try await deployment.pool.withConnection { (connection: isolated PostgresConnection) throws -> FoundUser in
            try find(user, on: connection)
        }
        var impersonated = Caller(
            actor: "\(caller.actor) as systemuser:\(found.id.text)", clientID: caller.clientID, systemUserID: found.id,
            roles: found.roles, address: caller.address, requestID: caller.requestID)
        impersonated.impersonation = Caller.Impersonation(
            systemUserID: delegate, roles: caller.roles, businessUnitID: found.unit)
        return Session(
            organization: organization, caller: impersonated, deployment: deployment, state: state, check: nil)
    }

    /// This session in the name of the user whom a request names, or this session itself if the request names no user.
    package func acting(for user: ImpersonatedUser?) async throws -> Session {
        if let user { try await impersonating(user) } else { self }
    }

    /// A user for whom a request may act.
    private struct FoundUser: Sendable {
        let id: UUID
        let unit: UUID
        let roles: RoleSet
    }

    private func find(_ user: ImpersonatedUser, on connection: isolated PostgresConnection) throws -> FoundUser {
        var current = state
        if check != nil {
            // The reused state of the session may be older than the user's role.
            current = try OrganizationState.read(organization.name, client: caller.clientID, in: deployment, on: connection)
        }
        let (id, unit) = try enabledUser(user, in: current, on: connection)
        let roles = try roles(of: id, in: current, on: connection)
        guard !roles.isEmpty else {
            throw FieldsealError(
                .privilegeDenied,
                "The user to act for has no role: neither the user nor a team of the user has one, and no enabled client or person "
                    + "of the "
                    + "organization acts as this systemuser. Associate it with a role (systemuserroles_association).")
        }
        return FoundUser(id: id, unit: unit, roles: roles)
    }

    private func enabledUser(_ user: ImpersonatedUser, in state: OrganizationState, on connection: isolated PostgresConnection)
        throws -> (id: UUID, unit: UUID)
    {
        let rows = try connection.query(
            """
            SELECT systemuserid, businessunitid, coalesce(isdisabled, false) FROM \(organization.qualified("systemuser"))
             WHERE \(user.column) = $1 LIMIT 2
            """, [.uuid(user.id)])
        guard rows.count == 1, let row = rows.first, let unit: UUID = try row.decodeIfPresent(1) else {
            throw FieldsealError(
                .notAUser, "The user to act for is not a user of this organization, or several have this object id.")
        }
        let id: UUID = try row.decode(0)
        guard try !row.decode(2, as: Bool.self), try !state.isDisabled(systemUser: id) else {
            throw FieldsealError(.notAUser, "The user to act for is disabled. Enable the systemuser, or name another one.")
        }
        return (id, unit)
    }

    /// The roles of a systemuser: its own, and those of the clients and people that act as it.
    ///
    /// Rows that SQL changed grant no role.
    func roles(of user: UUID, in state: OrganizationState, on connection: isolated PostgresConnection) throws -> RoleSet {
        let kek = deployment.kek
        var roles = try state.grantedRoles(of: user, under: kek, on: connection)
        for (row, _) in try ClientRegistry.rows(of: organization, actingAs: user, on: connection) where row.disabledOn == nil {
            guard let role = Role(rawValue: row.role),
                try state.grants.authenticates(row.grant(in: organization), tag: row.tag, under: kek)
            else { continue }
            roles.insert(role)
        }
        let people = try connection.query(
            "SELECT \(ConsoleUsers.columns) FROM config.console_user AS u WHERE u.organization_id = $1 AND u.systemuser_id = $2",
            [.uuid(organization.id), .uuid(user)])
        for row in people {
            guard let (person, tag) = try ConsoleUsers.row(row), person.disabledOn == nil,
                try state.grants.authenticates(person.grant, tag: tag, under: kek)
            else { continue }
            roles.insert(person.role)
        }
        return roles
    }
}
