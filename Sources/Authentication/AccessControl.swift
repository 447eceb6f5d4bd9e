import Foundation
import JSON
import PostgresClient
import Tenancy

// If approvals are required, one administrator alone can't give a System Administrator, or one who becomes such, a way to sign in.
extension AttestedChange {
    /// Requires an approval for an operation on a client, if the client is a System Administrator.
    ///
    /// - Parameters:
    ///   - row: Its row, which is the last one that this service wrote.
    ///   - what: The operation. The client's name is added to it.
    mutating func requireAccessControl(
        to row: OrganizationState.ClientRow, _ what: String, by caller: Caller, on connection: isolated PostgresConnection
    ) throws {
        try requireAccessControl("\(what) \(row.name) (System Administrator)", by: caller, on: connection) {
            row.role == Role.systemAdministrator.rawValue || $0.isAdministrator(row.systemUserID)
        }
    }

    /// The same for a person.
    mutating func requireAccessControl(
        to row: ConsoleUsers.Row, _ what: String, by caller: Caller, on connection: isolated PostgresConnection
    ) throws {
        try requireAccessControl("\(what) the System Administrator \(row.name)", by: caller, on: connection) {
            row.role == .systemAdministrator || $0.isAdministrator(row.systemUserID)
        }
    }

    /// The same for a new person. A user that exists may have the role System Administrator already.
    mutating func requireAccessControl(
        toAdd name: String, _ role: Role, _ existing: UUID?, by caller: Caller, on connection: isolated PostgresConnection
    ) throws {
        let subject = "add the person \(name) as System Administrator" + (existing.map { ", for the user \($0.text)" } ?? "")
        try requireAccessControl(subject, by: caller, on: connection) { holders in
            role == .systemAdministrator || existing.map { holders.isAdministrator($0) } ?? false
        }
    }

    /// The same for a new client.
    ///
    /// - Parameter key: The key that it gets. The approval is valid only for it.
    mutating func requireAccessControl(
        toAdd name: String, _ role: Role, key: ClientKey?, by caller: Caller, on connection: isolated PostgresConnection
    ) throws {
        guard role == .systemAdministrator else { return }
        let subject = "add the client \(name) as System Administrator"
        try requireAccessControl(
            key.map { "\(subject), with the key of SHA-256 \($0.fingerprint)" } ?? subject, by: caller, on: connection)
    }
}
