package import Foundation
import JSON
import Model
import PostgresClient
package import Tenancy

// Changes of existing clients.
extension ClientAdministration {
    /// Disables a client by its name or id. The client's tokens are refused at once.
    ///
    /// - Parameter evenIfLast: Whether the last System Administrator may be disabled.
    /// - Throws: ``FieldsealError`` when there is no client with that name or id, or when it is the last System Administrator and
    ///   `evenIfLast` is false.
    package func disable(_ nameOrID: String, evenIfLast: Bool = false) async throws {
        try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                // The text is first looked for among the ids, because SQL could give another row this text as its name.
                let rows = try ClientRegistry.rows(of: organization, on: connection).map(\.row)
                if !rows.contains(where: { $0.id.text == nameOrID.lowercased() }),
                    try disableHidden(nameOrID, &change, on: connection)
                {
                    return
                }
                guard let row = try ClientRegistry.row(toEnd: nameOrID, among: rows, change) else {
                    throw FieldsealError(
                        .objectDoesNotExist,
                        "\(organization.name) has no client \(nameOrID); see `fieldseal client list`. To disable a client whose row "
                            + "was deleted by SQL, use its id.")
                }
                let disabledOn = row.disabledOn ?? change.now
                let disabled = OrganizationState.ClientRow.grant(
                    row.id, organization, name: row.name, systemUser: row.systemUserID, role: row.role, disabledOn: disabledOn)
                // A row that SQL changed, or an older version that SQL restored, keeps its stored tag, so that it still does not
                // verify.
                let isOwn = try change.grants.authenticates(row.grant(in: organization), tag: row.tag, under: deployment.kek)
                let tag = isOwn ? try disabled.tag(under: change.kek) : row.tag
                try change.keepingAnAdministrator(evenIfLast: evenIfLast, on: connection) { change in
                    _ = try connection.query(
                        "UPDATE config.api_client SET disabled_on = $2, tag = $3 WHERE client_id = $1",
                        [.uuid(row.id), .moment(disabledOn), .bytes(tag)])
                    try change.revoke(OrganizationState.ClientRow.name(row.id), tag: isOwn ? tag : nil)
                }
                try change.append(SecurityEvent(.clientDisabled, .succeeded, details: nameOrID), by: caller, on: connection)
            }
        }
    }

    /// Revokes a client whose row SQL deleted. If the row is restored, it grants nothing.
    ///
    /// - Returns: Whether the attested list had a client with that id.
    private func disableHidden(
        _ id: String, _ change: inout AttestedChange, on connection: isolated PostgresConnection
    ) throws -> Bool {
        guard let name = UUID(text: id.lowercased()).map(OrganizationState.ClientRow.name), try change.grants.names(name) else {
            return false
        }
        try change.revoke(name)
        try change.append(
            SecurityEvent(.clientDisabled, .succeeded, details: "\(id), whose row was deleted by SQL"), by: caller,
            on: connection)
        return true
    }

    /// Enables a client again.
    package func enable(_ id: UUID) async throws {
        try await session.requestingApproval { connection in
            try change(id, on: connection) { row, change in
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
    }

    /// Gives a client another role.
    ///
    /// - Parameter evenIfLast: Whether the last System Administrator may get another role.
    package func setRole(_ role: Role, of id: UUID, evenIfLast: Bool = false) async throws {
        try await session.requestingApproval { connection in
            try change(id, on: connection) { row, change in
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
    }

    /// Changes a client whose row this service wrote.
    func change(
        _ id: UUID,
        on connection: isolated PostgresConnection,
        _ body: (OrganizationState.ClientRow, inout AttestedChange) throws -> Void
    ) throws {
        try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
            guard let row = try ClientRegistry.rows(of: organization, on: connection).first(where: { $0.row.id == id })?.row else {
                throw FieldsealError(
                    .objectDoesNotExist, "\(organization.name) has no client \(id.text); see `fieldseal client list`.")
            }
            guard try row.isNewest(in: change.grants, of: organization, under: change.kek) else {
                throw ClientRegistry.foreign(row.name)
            }
            try body(row, &change)
        }
    }

    static func isDisabled(_ name: String) -> FieldsealError {
        FieldsealError(.invalidArgument, "The client \(name.quotedForMessage) is disabled. Enable it first.")
    }
}
