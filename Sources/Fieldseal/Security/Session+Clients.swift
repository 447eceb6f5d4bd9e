public import Foundation
import PostgresClient

extension Session {
    /// Adds a client to the organization.
    ///
    /// - Returns: Its id and its secret, which is shown once and stored nowhere.
    public func addClient(name: String, role: Role) async throws -> (id: UUID, secret: String) {
        try requireSystemAdministrator()
        return try await deployment.pool.withConnection { connection in
            try connection.transaction {
                try ClientRegistry(deployment).add(name: name, role: role, to: organization, by: caller, on: connection)
            }
        }
    }

    /// The organization's clients, by name.
    public func clients() async throws -> [ClientRegistry.Entry] {
        try requireSystemAdministrator()
        return try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
            return try ClientRegistry(deployment).list(state, on: connection)
        }
    }

    /// Disables a client by its name or id; its tokens are refused at once.
    public func disableClient(_ nameOrID: String) async throws {
        try requireSystemAdministrator()
        try await deployment.pool.withConnection { connection in
            try connection.transaction {
                try ClientRegistry(deployment).disable(nameOrID, of: organization, by: caller, on: connection)
            }
        }
    }

    /// Enables a client again that was disabled.
    public func enableClient(_ id: UUID) async throws {
        try requireSystemAdministrator()
        try await deployment.pool.withConnection { connection in
            try ClientRegistry(deployment).enable(id, of: organization, by: caller, on: connection)
        }
    }

    /// Gives a client another role.
    public func setRole(_ role: Role, ofClient id: UUID) async throws {
        try requireSystemAdministrator()
        try await deployment.pool.withConnection { connection in
            try ClientRegistry(deployment).setRole(role, of: id, of: organization, by: caller, on: connection)
        }
    }

    /// Gives a client another secret. Its former one is accepted for a day, so that the client can be changed meanwhile.
    ///
    /// - Returns: The secret, which is shown once and stored nowhere.
    public func rotateSecret(ofClient id: UUID) async throws -> String {
        try requireSystemAdministrator()
        return try await deployment.pool.withConnection { connection in
            try ClientRegistry(deployment).rotateSecret(of: id, of: organization, by: caller, on: connection)
        }
    }
}
