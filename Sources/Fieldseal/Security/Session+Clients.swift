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
}
