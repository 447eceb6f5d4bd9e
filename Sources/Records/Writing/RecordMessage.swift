package import Foundation
package import Model
import PostgresClient
package import Tenancy

/// A message about one record. The message may be part of a change set.
package enum RecordMessage: Sendable {
    /// Shares the record; `replacing` replaces rights that were shared before.
    case share(Principal, AccessRights, replacing: Bool)
    case unshare(Principal)
    /// Adds users to a team, or removes them.
    case setMembers([UUID], areMembers: Bool)
    /// Links the record with other records by a many-to-many relationship, or removes these links.
    case associate(Association, [UUID], areLinked: Bool)
    /// Submits an e-mail.
    case sendEmail(issue: Bool, token: String?)
}

extension Session {
    /// Performs a message in a transaction.
    ///
    /// - Returns: The subject of an e-mail that was submitted; nil for all other messages.
    func perform(
        _ message: RecordMessage, on entity: EntityDefinition, _ id: UUID, on connection: isolated PostgresConnection
    ) throws -> String? {
        switch message {
        case .share(let principal, let rights, let isReplacing):
            try share(entity, id, with: principal, rights, replacing: isReplacing, on: connection)
        case .unshare(let principal): try unshare(entity, id, with: principal, on: connection)
        case .setMembers(let users, let areMembers):
            guard let members = ManyToManyRelationship.teamMembership.association(of: entity) else { break }
            try associate(members, id, users, areMembers ? .add : .remove, on: connection)
        case .associate(let association, let others, let areLinked):
            try associate(association, id, others, areLinked ? .add : .remove, on: connection)
        case .sendEmail(let isIssued, let token): return try sendEmail(id, issue: isIssued, token: token, on: connection)
        }
        return nil
    }
}

// Performs the messages of ``RecordMessage`` outside of a change set.
extension Session {
    /// Shares a record. The caller can share only rights that it has on the record.
    ///
    /// - Parameter replacing: Whether to replace rights that were shared before.
    package func share(
        _ entity: EntityDefinition, _ id: UUID, with principal: Principal, _ rights: AccessRights, replacing: Bool
    ) async throws {
        try await write(.message(entity, id, .share(principal, rights, replacing: replacing)))
    }

    /// Removes a share.
    package func unshare(_ entity: EntityDefinition, _ id: UUID, with principal: Principal) async throws {
        try await write(.message(entity, id, .unshare(principal)))
    }

    /// Adds users to a team, or removes them.
    package func setMembers(_ users: [UUID], of team: UUID, areMembers: Bool) async throws {
        try await write(.message(.team, team, .setMembers(users, areMembers: areMembers)))
    }

    /// Submits an e-mail: it is *Pending Send* until a router takes it.
    ///
    /// - Returns: The subject, with the tracking token.
    package func sendEmail(_ id: UUID, issue: Bool, token: String?) async throws -> String {
        try await write(.message(.email, id, .sendEmail(issue: issue, token: token))).subject ?? ""
    }
}
