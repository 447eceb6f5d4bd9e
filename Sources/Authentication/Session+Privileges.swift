package import Foundation
import JSON
package import Model
import PostgresClient
package import Tenancy

extension EntityDefinition {
    /// The privileges for the entity's messages. In this service the privilege to write a record includes Dataverse's privileges to
    /// append.
    package var privileges: [(message: Message, name: String)] {
        let verbs: KeyValuePairs<Message, String> = [
            .create: "Create", .retrieve: "Read", .update: "Write", .delete: "Delete", .assign: "Assign", .share: "Share",
        ]
        return verbs.compactMap { message, verb in has(message) ? (message, "prv\(verb)\(privilegeName)") : nil }
    }

    /// The entity's name in Dataverse's privileges.
    private var privilegeName: String {
        switch logicalName {
        case "systemuser": "User"
        case "email": "Activity"
        default: schemaName
        }
    }
}

extension Session {
    /// The privileges of a user, and the business unit to which their depth refers. Callers may ask for themselves, and System
    /// Administrators for everyone.
    ///
    /// - Throws: ``FieldsealError``: `.privilegeDenied`, `.objectDoesNotExist`.
    package func privileges(of user: UUID) async throws -> (unit: UUID, privileges: [Privilege]) {
        guard user == caller.systemUserID || caller.role == .systemAdministrator else {
            throw FieldsealError(
                .privilegeDenied, "A caller with the role \(caller.role.rawValue) may ask only for the privileges of its own user.")
        }
        let (unit, roles) = try await deployment.pool.withConnection { connection -> (UUID, Set<Role>) in
            let rows = try connection.query(
                "SELECT businessunitid, isdisabled FROM \(organization.qualified("systemuser")) WHERE systemuserid = $1",
                [.uuid(user)])
            guard let row = rows.first else { throw FieldsealError.noSuchRecord(.systemUser, user.text) }
            let isDisabled: Bool = try row.decode(1)
            return (try row.decode(0), isDisabled ? [] : try currentRoles(of: user, on: connection))
        }
        var deepest: [String: Privilege] = [:]
        for privilege in roles.flatMap(Privilege.all) where deepest[privilege.name].map({ $0.depth < privilege.depth }) ?? true {
            deepest[privilege.name] = privilege
        }
        return (unit, deepest.values.sorted { $0.name < $1.name })
    }

    /// The roles of enabled clients and people that act as a user, from rows that this service wrote.
    private func currentRoles(of user: UUID, on connection: isolated PostgresConnection) throws -> Set<Role> {
        if user == caller.systemUserID { return Set(caller.roles.roles) }
        let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
        guard try !state.isDisabled(systemUser: user) else { return [] }
        let clients = try ClientRegistry.rows(of: organization, on: connection).map(\.row)
            .filter { try $0.systemUserID == user && state.mayAct($0, under: deployment.kek) }
            .compactMap { Role(rawValue: $0.role) }
        let person = try ConsoleUsers(deployment).find("u.systemuser_id = $2", [.uuid(user)], in: state, on: connection)
        let granted = try state.grantedRoles(of: user, under: deployment.kek, on: connection)
        return Set(clients + [person?.role].compactMap(\.self)).union(granted.roles)
    }
}
