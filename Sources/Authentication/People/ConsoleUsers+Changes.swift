import CellCrypto
package import Foundation
import JSON
import Model
import PostgresClient
package import Tenancy

// Changes of existing people.
extension ConsoleUsers {
    /// Gives a person another role, from their next page on.
    ///
    /// - Throws: ``FieldsealError`` for the last System Administrator, and for a row that this service did not write.
    ///
    /// - Parameter evenIfLast: Whether the last System Administrator may get another role.
    package func setRole(_ role: Role, of id: UUID, evenIfLast: Bool = false, by session: Session) async throws {
        try session.requireSystemAdministrator(to: "manage console users")
        guard role != .emailRouter else {
            throw FieldsealError(.invalidArgument, "A person can't have the role Email Router. Only clients can.")
        }
        try await change(id, by: session) { user, change, connection in
            var new = user
            new.role = role
            guard new.disabledOn == nil else {
                throw FieldsealError(.invalidArgument, "\(user.name.quotedForMessage) is disabled. Enable them first.")
            }
            if role == .systemAdministrator {
                try change.requireAccessControl(
                    "give the person \(id.text) the role System Administrator", by: session.caller, on: connection)
            }
            let grant = new.grant
            // A person who has the link could sign in as the new administrator, and approve what another one asks for.
            if role == .systemAdministrator { try Invitation.end(of: id, &change, on: connection) }
            try change.keepingAnAdministrator(evenIfLast: evenIfLast, on: connection) { change in
                _ = try connection.query(
                    "UPDATE config.console_user SET role = $2, tag = $3 WHERE user_id = $1",
                    [.uuid(id), .text(role.rawValue), .bytes(try change.grant(grant))])
            }
            try change.append(
                SecurityEvent(.userChanged, .succeeded, details: "\(user.name): \(user.role.rawValue) to \(role.rawValue)"),
                by: session.caller, on: connection)
        }
    }

    /// Enables a person again. Their password and one-time passwords are unchanged.
    package func enable(_ id: UUID, by session: Session) async throws {
        try session.requireSystemAdministrator(to: "manage console users")
        try await change(id, by: session) { user, change, connection in
            guard user.disabledOn != nil else { return }
            try change.requireAccessControl(to: user, "enable", by: session.caller, on: connection)
            var user = user
            user.disabledOn = nil
            _ = try connection.query(
                "UPDATE config.console_user SET disabled_on = NULL, tag = $2 WHERE user_id = $1",
                [.uuid(id), .bytes(try change.grant(user.grant))])
            try change.append(
                SecurityEvent(.userChanged, .succeeded, details: "\(user.name): enabled"), by: session.caller, on: connection)
        }
    }

    /// Ends all sessions of a person.
    package func endSessions(of id: UUID, by session: Session) async throws {
        try session.requireSystemAdministrator(to: "manage console users")
        try await change(id, by: session) { user, change, connection in
            try ConsoleSessions.end("user_id = $1", [.uuid(id)], &change, on: connection)
            try change.append(
                SecurityEvent(.userChanged, .succeeded, details: "\(user.name): sessions ended"), by: session.caller,
                on: connection)
        }
    }

    // MARK: Shared by these

    /// Stores another password. All sessions of the person end. One-time passwords stay.
    ///
    /// - Parameter derived: The result of ``PasswordHashing``.
    func replacePassword(
        of old: Row,
        _ salt: [UInt8],
        _ derived: [UInt8],
        _ change: inout AttestedChange,
        on connection: isolated PostgresConnection
    ) throws -> Row {
        let user = Row(
            id: old.id, organizationID: old.organizationID, name: old.name, systemUserID: old.systemUserID, role: old.role,
            salt: salt, verifier: try PasswordHashing.verifier(of: derived, salt: salt, under: change.kek), totp: old.totp,
            disabledOn: old.disabledOn)
        _ = try connection.query(
            "UPDATE config.console_user SET salt = $2, verifier = $3, tag = $4, must_change_password = false WHERE user_id = $1",
            [.uuid(user.id), .bytes(salt), .bytes(user.verifier), .bytes(try change.grant(user.grant))])
        try Invitation.end(of: user.id, &change, on: connection)
        try ConsoleSessions.end("user_id = $1", [.uuid(user.id)], &change, on: connection)
        return user
    }

    /// Changes a person whose row this service wrote.
    func change<Result: Sendable>(
        _ id: UUID,
        by session: Session,
        _ body: @Sendable (Row, inout AttestedChange, isolated PostgresConnection) throws -> Result
    ) async throws -> Result {
        try await session.requestingApproval { connection in
            try AttestedState.change(of: session.organization, under: deployment.kek, on: connection) { change in
                let rows = try connection.query(
                    "SELECT \(Self.columns) FROM config.console_user AS u WHERE organization_id = $1 AND user_id = $2 FOR UPDATE",
                    [.uuid(session.organization.id), .uuid(id)])
                guard let (user, tag) = try rows.first.flatMap(Self.row) else {
                    throw FieldsealError(.objectDoesNotExist, "There is no such person here.")
                }
                guard try user.isNewest(tag, in: change.grants, under: change.kek) else {
                    throw Self.foreign(user.name)
                }
                return try body(user, &change, connection)
            }
        }
    }
}
