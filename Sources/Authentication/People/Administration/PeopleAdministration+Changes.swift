package import Foundation
import JSON
import Model
import PostgresClient
package import Tenancy

// Changes of existing people.
extension PeopleAdministration {
    /// Gives a person another role. The new role takes effect when the person opens the next page. If the role gives new rights, the
    /// person's former access ends (``Tenancy/AttestedChange/endFormerAccess(of:by:_:on:)``).
    ///
    /// - Returns: Whether the password ended, so that the person needs a link to choose another one.
    /// - Throws: ``FieldsealError`` for the last System Administrator if `evenIfLast` is false, and for a row that this service did
    ///   not write.
    ///
    /// - Parameter evenIfLast: Whether the last System Administrator may get another role.
    @discardableResult
    package func setRole(_ role: Role, of id: UUID, evenIfLast: Bool = false) async throws -> Bool {
        guard role != .emailRouter else {
            throw FieldsealError(.invalidArgument, "A person can't have the role Email Router. Only clients can.")
        }
        return try await change(id) { user, change, connection in
            var new = user
            new.role = role
            guard new.disabledOn == nil else {
                throw FieldsealError(.invalidArgument, "\(user.name.quotedForMessage) is disabled. Enable the person first.")
            }
            if role == .systemAdministrator {
                try change.requireAccessControl(
                    "give the person \(id.text) the role System Administrator", by: caller, on: connection)
            }
            let grant = new.grant
            try change.keepingAnAdministrator(evenIfLast: evenIfLast, on: connection) { change in
                _ = try connection.query(
                    "UPDATE config.console_user SET role = $2, tag = $3 WHERE user_id = $1",
                    [.uuid(id), .text(role.rawValue), .bytes(try change.grant(grant))])
            }
            try change.append(
                SecurityEvent(.userChanged, .succeeded, details: "\(user.name): \(user.role.rawValue) to \(role.rawValue)"),
                by: caller, on: connection)
            guard role.adds(to: user.role) else { return false }
            return try change.endFormerAccess(of: id, by: caller, deployment.hashing, on: connection)
        }
    }

    /// Enables a person again. The person's password and one-time passwords are unchanged.
    package func enable(_ id: UUID) async throws {
        try await change(id) { user, change, connection in
            guard user.disabledOn != nil else { return }
            try change.requireAccessControl(to: user, "enable", by: caller, on: connection)
            var user = user
            user.disabledOn = nil
            _ = try connection.query(
                "UPDATE config.console_user SET disabled_on = NULL, tag = $2 WHERE user_id = $1",
                [.uuid(id), .bytes(try change.grant(user.grant))])
            try change.append(
                SecurityEvent(.userChanged, .succeeded, details: "\(user.name): enabled"), by: caller, on: connection)
        }
    }

    /// Disables a person. The person's sessions end at once.
    ///
    /// - Parameters:
    ///   - name: The name, or the id. A person whose row SQL hid or changed is disabled by the id.
    ///   - evenIfLast: Whether the last System Administrator may be disabled.
    package func disable(_ name: String, evenIfLast: Bool = false) async throws {
        try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                guard let (found, tag, standing) = try ConsoleUsers.row(toEnd: name, &change, on: connection) else {
                    return try disableHidden(name, &change, on: connection)
                }
                let former = change.grants
                var user = found
                if user.disabledOn == nil { user.disabledOn = change.now }
                // A row that SQL changed, or an older version that SQL restored, keeps its stored tag, so that it does not verify
                // even after a reset.
                let isOwn = standing == .authentic
                let kept = isOwn ? try user.grant.tag(under: change.kek) : tag
                try change.keepingAnAdministrator(evenIfLast: evenIfLast, on: connection) { change in
                    _ = try connection.query(
                        "UPDATE config.console_user SET disabled_on = $2, tag = $3 WHERE user_id = $1",
                        [.uuid(user.id), .moment(user.disabledOn), .bytes(kept)])
                    try change.revoke(ConsoleUsers.name(user.id), tag: isOwn ? kept : nil)
                }
                try change.endInvitation(of: user.id, on: connection)
                try change.endSessions(of: user.id, on: connection)
                let details = try Self.title(of: found, isOwn: isOwn || found.isNewest(tag, in: former, under: change.kek))
                try change.append(SecurityEvent(.userDisabled, .succeeded, details: details), by: caller, on: connection)
            }
        }
    }

    /// Changes a person whose row this service wrote.
    func change<Result: Sendable>(
        _ id: UUID,
        _ body: @Sendable (ConsoleUsers.Row, inout AttestedChange, isolated PostgresConnection) throws -> Result
    ) async throws -> Result {
        try await session.requestingApproval { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                let rows = try connection.query(
                    "SELECT \(ConsoleUsers.columns) FROM config.console_user AS u WHERE organization_id = $1 AND user_id = $2 FOR UPDATE",
                    [.uuid(organization.id), .uuid(id)])
                guard let (user, tag) = try rows.first.flatMap(ConsoleUsers.row) else {
                    throw FieldsealError(.objectDoesNotExist, "There is no such person here.")
                }
                guard try user.isNewest(tag, in: change.grants, under: change.kek) else {
                    throw ConsoleUsers.foreign(user.name)
                }
                return try body(user, &change, connection)
            }
        }
    }
}
