import CellCrypto
package import Foundation
import JSON
import Model
import PostgresClient
import Records
package import Tenancy

/// What a System Administrator may do with the organization's API clients: add, list, change and remove them.
///
/// The initializer checks the caller's role, so the methods do not check it again.
package struct ClientAdministration: Sendable {
    let session: Session

    var organization: Organization { session.organization }
    var caller: Caller { session.caller }
    var deployment: Deployment { session.deployment }

    /// A client in the output of `client list`.
    package struct Entry: Sendable {
        package let id: UUID
        package let name: String
        package let role: String
        package let systemUserID: UUID
        package let createdOn: Date
        package let disabledOn: Date?
        /// Whether this service wrote the row.
        package let isAuthentic: Bool
        package let keys: [KeyEntry]
        package let secrets: [SecretEntry]
    }

    /// Checks that the caller is a System Administrator.
    ///
    /// - Throws: ``FieldsealError`` `.privilegeDenied` for another role, and for a caller that acts for another user.
    package init(_ session: Session) throws {
        try session.requireSystemAdministrator(to: "manage API clients")
        self.session = session
    }

    // MARK: Adding

    /// Adds a client to the organization, with its systemuser.
    ///
    /// - Parameters:
    ///   - secretSeconds: The lifetime of the secret; nil for no expiry.
    ///   - deliver: Receives the client's id and secret. If this function throws, no client is added.
    /// - Returns: The client's id and its secret: 32 random bytes in base64url, shown once and not stored.
    /// - Throws: ``FieldsealError`` when another client has the name.
    package func add(
        name: String, role: Role, secretSeconds: Int? = nil, deliver: @Sendable (UUID, String) throws -> Void = { _, _ in }
    ) async throws -> (id: UUID, secret: String) {
        let (id, secret) = try await make(name, role, key: nil, secretSeconds: secretSeconds, deliver: deliver)
        return (id, secret ?? "")
    }

    /// Adds a client that authenticates with a key, and has no secret.
    ///
    /// - Returns: The client's id.
    package func add(name: String, role: Role, key: ClientKey) async throws -> UUID {
        try await make(name, role, key: key, secretSeconds: nil, deliver: { _, _ in }).id
    }

    /// - Returns: The id, and the secret of a client without a key.
    private func make(
        _ name: String, _ role: Role, key: ClientKey?, secretSeconds: Int?, deliver: @Sendable (UUID, String) throws -> Void
    ) async throws -> (id: UUID, secret: String?) {
        guard (1...100).contains(name.count), name.isVisible else {
            throw FieldsealError(
                .invalidArgument, "A client's name has 1 to 100 characters, and no control characters or invisible ones.")
        }
        let row = NewRow(name: name, role: role)
        let secret = key == nil ? Data(try randomBytes(count: 32)).base64URL : nil
        try await session.requestingApproval { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                try change.requireAccessControl(toAdd: name, role, key: key, by: caller, on: connection)
                try insert(row, &change, on: connection)
                var details = "\(name), \(role.rawValue)"
                if let secret { try addSecret(secret, to: row.id, seconds: secretSeconds, &change, on: connection) }
                if let key {
                    _ = try addKey(key, to: row.id, &change, on: connection)
                    details += ", \(key.kind), SHA-256 \(key.fingerprint)"
                }
                try change.append(SecurityEvent(.clientAdded, .succeeded, details: details), by: caller, on: connection)
                if let secret { try deliver(row.id, secret) }
            }
        }
        return (row.id, secret)
    }

    /// A client that is to be inserted.
    private struct NewRow {
        let id = UUID.timeOrdered()
        let systemUserID = UUID.timeOrdered()
        let name: String
        let role: Role
    }

    /// Inserts a client and its systemuser, without a secret or a key.
    private func insert(_ row: NewRow, _ change: inout AttestedChange, on connection: isolated PostgresConnection) throws {
        let names = try connection.query(
            "SELECT name FROM config.api_client WHERE organization_id = $1", [.uuid(organization.id)])
        for taken in names where try taken.decode(0, as: String.self).comparedAsName == row.name.comparedAsName {
            throw FieldsealError(
                .duplicateRecord,
                "There is a client named \(try taken.decode(0, as: String.self)) already. Disable it, or take another name.")
        }
        let user = try NewRecord.systemUser(
            id: row.systemUserID, name: "# \(row.name)", domainName: "client\\\(row.name)", application: row.id, in: organization,
            by: caller, on: connection)
        try user.insert(into: organization, by: caller, on: connection)
        let grant = OrganizationState.ClientRow.grant(
            row.id, organization, name: row.name, systemUser: row.systemUserID, role: row.role.rawValue, disabledOn: nil)
        do {
            _ = try connection.query(
                """
                INSERT INTO config.api_client (client_id, organization_id, name, systemuser_id, role, tag, created_by)
                VALUES ($1, $2, $3, $4, $5, $6, $7)
                """,
                [
                    .uuid(row.id), .uuid(organization.id), .text(row.name), .uuid(row.systemUserID), .text(row.role.rawValue),
                    .bytes(try change.grant(grant)), .text(caller.actor),
                ]
            )
        } catch let error as PostgresError where error.state == .uniqueViolation {
            throw FieldsealError(
                .duplicateRecord, "There is a client named \(row.name) already. Disable it, or take another name.")
        }
    }

    // MARK: Finding

    /// The organization's clients, by name.
    package func list() async throws -> [Entry] {
        try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
            let keys = try keys(state, on: connection)
            let secrets = try secrets(state, on: connection)
            return try ClientRegistry.rows(of: state.organization, on: connection).map { row, createdOn in
                return Entry(
                    id: row.id, name: row.name, role: row.role, systemUserID: row.systemUserID, createdOn: createdOn,
                    disabledOn: row.disabledOn.map { $0.date },
                    isAuthentic: try row.isNewest(in: state.grants, of: state.organization, under: deployment.kek),
                    keys: keys[row.id] ?? [],
                    secrets: secrets[row.id] ?? [])
            }
        }
    }

    /// The id of a client by its name or id.
    ///
    /// - Throws: ``FieldsealError`` when there is no such client, or SQL changed its row. SQL could have given the row another
    ///   client's name.
    package func id(of nameOrID: String) async throws -> UUID {
        try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
            return try ClientRegistry.row(
                nameOrID, of: organization, in: state.grants, under: deployment.kek, on: connection
            ).id
        }
    }
}
