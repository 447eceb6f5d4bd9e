package import Foundation
package import Model
import PostgresClient
package import Records
package import Tenancy

extension Session {
    /// The rights of a user or a team to a record that the caller may read: by its roles, by ownership or by a share.
    ///
    /// - Throws: ``FieldsealError``: `.objectDoesNotExist`, `.privilegeDenied`.
    package func rights(of principal: Principal, on entity: EntityDefinition, _ id: UUID) async throws -> AccessRights {
        _ = try await retrieve(entity, .id(id), [.init(.column(.init(entity.primaryID)))])
        return try await deployment.pool.withConnection { connection in
            try requirePrincipal(principal, on: connection)
            let roles =
                principal.entity == EntityDefinition.team.logicalName
                ? try state.roles(ofTeam: principal.id, under: deployment.kek, on: connection)
                : try enabledRoles(of: principal.id, on: connection)
            let other = Caller(
                actor: "", clientID: nil, systemUserID: principal.id, roles: roles, address: nil, requestID: nil)
            let own = try grantedRights(of: other, on: entity, id, countsShares: false, on: connection)
            return own.union(try shared(with: other, entity, id, on: connection)).effective
        }
    }

    private func enabledRoles(of user: UUID, on connection: isolated PostgresConnection) throws -> RoleSet {
        let rows = try connection.query(
            "SELECT isdisabled FROM \(organization.qualified("systemuser")) WHERE systemuserid = $1", [.uuid(user)])
        guard try rows.first?.decode(0, as: Bool.self) == false, try !state.isDisabled(systemUser: user) else { return [] }
        return try roles(of: user, in: state, on: connection)
    }
}
