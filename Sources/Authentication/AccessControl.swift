import Foundation
import JSON
import PostgresClient
import Tenancy

// If an organization requires approvals, two kinds of changes need an approval: giving a System Administrator another way to sign
// in, and giving a person or a client the role System Administrator.
extension AttestedChange {
    /// Requires an approval for an operation on a client, if the client is a System Administrator.
    ///
    /// - Parameters:
    ///   - row: The client's row. The calling code must have verified that this service wrote the row last.
    ///   - what: The operation, for the approver. The client's name is appended.
    mutating func requireAccessControl(
        to row: OrganizationState.ClientRow, _ what: String, by caller: Caller, on connection: isolated PostgresConnection
    ) throws {
        try requireAccessControl("\(what) \(row.name) (System Administrator)", by: caller, on: connection) {
            row.role == Role.systemAdministrator.rawValue || $0.isAdministrator(row.systemUserID)
        }
    }

    /// Requires an approval for an operation on a person, if the person is a System Administrator.
    mutating func requireAccessControl(
        to row: ConsoleUsers.Row, _ what: String, by caller: Caller, on connection: isolated PostgresConnection
    ) throws {
        try requireAccessControl("\(what) the System Administrator \(row.name)", by: caller, on: connection) {
            row.role == .systemAdministrator || $0.isAdministrator(row.systemUserID)
        }
    }

    /// Requires an approval to add a person who will be a System Administrator: by `role`, or because the systemuser `existing` has
    /// that role already.
    mutating func requireAccessControl(
        toAdd name: String, _ role: Role, _ existing: UUID?, by caller: Caller, on connection: isolated PostgresConnection
    ) throws {
        let subject = "add the person \(name) as System Administrator" + (existing.map { ", for the user \($0.text)" } ?? "")
        try requireAccessControl(subject, by: caller, on: connection) { holders in
            role == .systemAdministrator || existing.map { holders.isAdministrator($0) } ?? false
        }
    }

    /// Requires an approval to add a client that will be a System Administrator.
    ///
    /// - Parameter key: The client's key; nil for a secret. The approval is valid only for this key.
    mutating func requireAccessControl(
        toAdd name: String, _ role: Role, key: ClientKey?, by caller: Caller, on connection: isolated PostgresConnection
    ) throws {
        guard role == .systemAdministrator else { return }
        let subject = "add the client \(name) as System Administrator"
        try requireAccessControl(
            key.map { "\(subject), with the key of SHA-256 \($0.fingerprint)" } ?? subject, by: caller, on: connection)
    }
}
