import CellCrypto
import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

// Changes of existing clients.
extension ClientRegistry {
    /// Seconds for which the previous secret is accepted, by default.
    package static let overlap = 86_400

    /// Enables a client again.
    func enable(_ id: UUID, of organization: Organization, by caller: Caller, on connection: isolated PostgresConnection) throws {
        try change(id, of: organization, on: connection) { row, change in
            guard row.disabledOn != nil else { return }
            try change.requireAccessControl(to: row, "enable the client", by: caller, on: connection)
            let grant = OrganizationState.ClientRow.grant(
                row.id, organization, name: row.name, systemUser: row.systemUserID, role: row.role, disabledOn: nil)
            _ = try connection.query(
                "UPDATE config.api_client SET disabled_on = NULL, tag = $2 WHERE client_id = $1",
                [.uuid(id), .bytes(try change.grant(grant))])
            try change.append(
                SecurityEvent(.clientChanged, .succeeded, details: "\(row.name): enabled"), by: caller, on: connection)
        }
    }

    /// Gives a client another role.
    func setRole(
        _ role: Role, of id: UUID, evenIfLast: Bool, of organization: Organization, by caller: Caller,
        on connection: isolated PostgresConnection
    ) throws {
        try change(id, of: organization, on: connection) { row, change in
            guard row.disabledOn == nil else { throw Self.isDisabled(row.name) }
            if role == .systemAdministrator {
                try change.requireAccessControl(
                    "give the client \(id.text) the role System Administrator", by: caller, on: connection)
            }
            let grant = OrganizationState.ClientRow.grant(
                row.id, organization, name: row.name, systemUser: row.systemUserID, role: role.rawValue, disabledOn: nil)
            try change.keepingAnAdministrator(evenIfLast: evenIfLast, on: connection) { change in
                _ = try connection.query(
                    "UPDATE config.api_client SET role = $2, tag = $3 WHERE client_id = $1",
                    [.uuid(id), .text(role.rawValue), .bytes(try change.grant(grant))])
            }
            try change.append(
                SecurityEvent(.clientChanged, .succeeded, details: "\(row.name): \(row.role) to \(role.rawValue)"), by: caller,
                on: connection)
        }
    }

    /// Adds a secret. The newest earlier one ends after `overlap` seconds, and older ones at once, so at most two are valid.
    ///
    /// - Parameters:
    ///   - seconds: The lifetime of the new secret; nil for no expiry.
    ///   - deliver: Hands over the new secret. If it throws, nothing is changed.
    func rotateSecret(
        of id: UUID, overlap: Int, seconds: Int?, of organization: Organization, by caller: Caller,
        on connection: isolated PostgresConnection, deliver: (String) throws -> Void
    ) throws -> String {
        let secret = Data(try randomBytes(count: 32)).base64URL
        try change(id, of: organization, on: connection) { row, change in
            guard row.disabledOn == nil else { throw Self.isDisabled(row.name) }
            try change.requireAccessControl(to: row, "give another secret to the client", by: caller, on: connection)
            let former = try connection.query(
                """
                SELECT secret_id, salt, verifier, expires_on, tag, least(expires_on, now() + $2 * interval '1 second')
                  FROM config.api_client_secret WHERE client_id = $1 ORDER BY created_on DESC FOR UPDATE
                """, [.uuid(id), .double(Double(overlap))])
            for (index, old) in former.enumerated() {
                let (secretRow, tag) = try Self.secretRow(old, of: id)
                let isOwn = try change.grants.authenticates(secretRow.grant, tag: tag, under: change.kek)
                guard index == 0, isOwn, overlap > 0 else {
                    _ = try connection.query("DELETE FROM config.api_client_secret WHERE secret_id = $1", [.uuid(secretRow.id)])
                    try change.remove(secretRow.grant.name)
                    continue
                }
                let ending = SecretRow(
                    id: secretRow.id, client: id, salt: secretRow.salt, verifier: secretRow.verifier,
                    expiresOn: try old.decodeIfPresent(5))
                _ = try connection.query(
                    "UPDATE config.api_client_secret SET expires_on = $2, tag = $3 WHERE secret_id = $1",
                    [.uuid(ending.id), .moment(ending.expiresOn), .bytes(try change.grant(ending.grant))])
            }
            try addSecret(secret, to: id, seconds: seconds, &change, on: connection)
            try change.append(
                SecurityEvent(.clientChanged, .succeeded, details: "\(row.name): another secret"), by: caller, on: connection)
            try deliver(secret)
        }
        return secret
    }

    /// Changes a client whose row this service wrote.
    func change(
        _ id: UUID,
        of organization: Organization,
        on connection: isolated PostgresConnection,
        _ body: (OrganizationState.ClientRow, inout AttestedChange) throws -> Void
    ) throws {
        try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
            guard let row = try Self.rows(of: organization, on: connection).first(where: { $0.row.id == id })?.row else {
                throw Self.unknown(id.text, organization)
            }
            guard try row.isNewest(in: change.grants, of: organization, under: change.kek) else {
                throw Self.foreign(row.name)
            }
            try body(row, &change)
        }
    }

    private static func isDisabled(_ name: String) -> FieldsealError {
        FieldsealError(.invalidArgument, "The client \(name.quotedForMessage) is disabled. Enable it first.")
    }
}
