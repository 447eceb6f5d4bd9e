package import Foundation
import JSON
import PostgresClient
package import Tenancy

extension Session {
    /// Adds a client to the organization.
    ///
    /// - Parameters:
    ///   - secretSeconds: The lifetime of the secret; nil for no expiry.
    ///   - deliver: Hands over its id and its secret. If it throws, no client is added.
    /// - Returns: Its id and its secret, which is shown once and not stored.
    package func addClient(
        name: String, role: Role, secretSeconds: Int? = nil, deliver: @Sendable (UUID, String) throws -> Void = { _, _ in }
    ) async throws -> (id: UUID, secret: String) {
        let (id, secret) = try await makeClient(name, role, key: nil, secretSeconds: secretSeconds, deliver: deliver)
        return (id, secret ?? "")
    }

    /// Adds a client that authenticates with a key, and has no secret.
    ///
    /// - Returns: Its id.
    package func addClient(name: String, role: Role, key: ClientKey) async throws -> UUID {
        try await makeClient(name, role, key: key, secretSeconds: nil, deliver: { _, _ in }).id
    }

    private func makeClient(
        _ name: String, _ role: Role, key: ClientKey?, secretSeconds: Int?, deliver: @Sendable (UUID, String) throws -> Void
    ) async throws -> (id: UUID, secret: String?) {
        try requireSystemAdministrator(to: "manage API clients")
        return try await requestingApproval { connection in
            try connection.transaction {
                try ClientRegistry(deployment).add(
                    name: name, role: role, key: key, secretSeconds: secretSeconds, to: organization, by: caller, on: connection,
                    deliver: deliver)
            }
        }
    }

    /// Adds a public key to a client, which is named by its name or id. Its assertions are signed with the private key (RFC 7523).
    ///
    /// - Returns: The key's id.
    package func addClientKey(_ key: ClientKey, to nameOrID: String) async throws -> UUID {
        try requireSystemAdministrator(to: "manage API clients")
        return try await requestingApproval { connection in
            try connection.transaction {
                try ClientRegistry(deployment).addKey(key, to: nameOrID, of: organization, by: caller, on: connection)
            }
        }
    }

    /// Removes a public key of a client. Assertions that it signs are refused from now on. Tokens that were issued before stay
    /// valid.
    package func removeClientKey(_ id: UUID, of nameOrID: String) async throws {
        try requireSystemAdministrator(to: "manage API clients")
        try await deployment.pool.withConnection { connection in
            try connection.transaction {
                try ClientRegistry(deployment).removeKey(id, of: nameOrID, in: organization, by: caller, on: connection)
            }
        }
    }

    /// The organization's clients, by name.
    package func clients() async throws -> [ClientRegistry.Entry] {
        try requireSystemAdministrator(to: "manage API clients")
        return try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
            return try ClientRegistry(deployment).list(state, on: connection)
        }
    }

    /// Disables a client by its name or id. Its tokens are refused at once.
    ///
    /// - Parameter evenIfLast: Whether the last System Administrator may be disabled.
    package func disableClient(_ nameOrID: String, evenIfLast: Bool = false) async throws {
        try requireSystemAdministrator(to: "manage API clients")
        try await deployment.pool.withConnection { connection in
            try connection.transaction {
                try ClientRegistry(deployment).disable(
                    nameOrID, evenIfLast: evenIfLast, of: organization, by: caller, on: connection)
            }
        }
    }

    /// Enables a disabled client.
    package func enableClient(_ id: UUID) async throws {
        try requireSystemAdministrator(to: "manage API clients")
        try await requestingApproval { connection in
            try ClientRegistry(deployment).enable(id, of: organization, by: caller, on: connection)
        }
    }

    /// Gives a client another role.
    ///
    /// - Parameter evenIfLast: Whether the last System Administrator may get another role.
    package func setRole(_ role: Role, ofClient id: UUID, evenIfLast: Bool = false) async throws {
        try requireSystemAdministrator(to: "manage API clients")
        try await requestingApproval { connection in
            try ClientRegistry(deployment).setRole(
                role, of: id, evenIfLast: evenIfLast, of: organization, by: caller, on: connection)
        }
    }

    /// Gives a client another secret. The previous one is accepted for a while, so that the client can be changed meanwhile.
    ///
    /// - Parameters:
    ///   - overlap: Seconds for which the previous one is accepted; 0 ends it at once.
    ///   - seconds: The lifetime of the new secret; nil for no expiry.
    ///   - deliver: Hands over the new secret. If it throws, the client keeps the secrets that it has.
    /// - Returns: The secret, which is shown once and not stored.
    package func rotateSecret(
        ofClient id: UUID, overlap: Int = ClientRegistry.overlap, seconds: Int? = nil,
        deliver: @Sendable (String) throws -> Void = { _ in }
    ) async throws -> String {
        try requireSystemAdministrator(to: "manage API clients")
        return try await requestingApproval { connection in
            try ClientRegistry(deployment).rotateSecret(
                of: id, overlap: overlap, seconds: seconds, of: organization, by: caller, on: connection, deliver: deliver)
        }
    }
}
