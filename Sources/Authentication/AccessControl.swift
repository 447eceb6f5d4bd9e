import Foundation
import JSON
import PostgresClient
import Tenancy

// If approvals are required, one administrator alone can't give the role System Administrator, or a secret with that role.
extension Session {
    /// - Parameter key: The key that the operation adds. The approval is valid only for it.
    func requireAccessControl(_ subject: String, key: ClientKey?) async throws {
        try await requireAccessControl(key.map { "\(subject), with the key of SHA-256 \($0.fingerprint)" } ?? subject)
    }

    /// Requires an approval for an operation on a client, if the client is a System Administrator.
    ///
    /// - Parameter what: The operation. The client's name is added to it.
    func requireAccessControl(toClient nameOrID: String, _ what: String) async throws {
        guard caller.systemUserID != nil else { return }
        let named = try await deployment.pool.withConnection { connection -> String? in
            let row = try ClientRegistry.row(nameOrID, of: organization, on: connection)
            return try isAdministrator(row.role, row.systemUserID, on: connection) ? row.name : nil
        }
        guard let name = named else { return }
        try await requireAccessControl("\(what) \(name) (System Administrator)")
    }

    /// The same for a person.
    func requireAccessControl(toPerson id: UUID, _ what: String) async throws {
        guard caller.systemUserID != nil else { return }
        let named = try await deployment.pool.withConnection { connection -> String? in
            let row = try connection.query(
                "SELECT name, role, systemuser_id FROM config.console_user WHERE organization_id = $1 AND user_id = $2",
                [.uuid(organization.id), .uuid(id)]
            ).first
            guard let row, try isAdministrator(row.decode(1), row.decode(2), on: connection) else { return nil }
            return try row.decode(0)
        }
        guard let name = named else { return }
        try await requireAccessControl("\(what) the System Administrator \(name)")
    }

    /// The same for a new person. A user that exists may have the role System Administrator already.
    func requireAccessControl(toAdd name: String, _ role: Role, _ existing: UUID?) async throws {
        let subject = "add the person \(name) as System Administrator"
        guard let existing else {
            if role == .systemAdministrator { try await requireAccessControl(subject) }
            return
        }
        let gives = try await deployment.pool.withConnection { try isAdministrator(role.rawValue, existing, on: $0) }
        if gives { try await requireAccessControl("\(subject), for the user \(existing.text)") }
    }

    private func isAdministrator(_ role: String, _ user: UUID, on connection: isolated PostgresConnection) throws -> Bool {
        if role == Role.systemAdministrator.rawValue { return true }
        let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
        return try state.grantedRoles(of: user, under: deployment.kek, on: connection).contains(.systemAdministrator)
    }
}
