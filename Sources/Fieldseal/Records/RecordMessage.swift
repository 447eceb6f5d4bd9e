public import Foundation
import PostgresClient

/// A message about one record, which may be a part of a change set.
public enum RecordMessage: Sendable {
    /// Shares the record; `replacing` replaces rights that are shared already.
    case share(Principal, AccessRights, replacing: Bool)
    case unshare(Principal)
    /// Adds users to a team, or takes them out of it.
    case setMembers([UUID], areMembers: Bool)
    /// Submits an e-mail.
    case sendEmail(issue: Bool, token: String?)
}

extension Session {
    /// Does what a message says, in a transaction.
    ///
    /// - Returns: The subject of an e-mail that was submitted.
    func perform(
        _ message: RecordMessage, on entity: EntityDefinition, _ id: UUID, on connection: isolated PostgresConnection
    ) throws -> String? {
        switch message {
        case .share(let principal, let rights, let isReplacing):
            try share(entity, id, with: principal, rights, replacing: isReplacing, on: connection)
        case .unshare(let principal): try unshare(entity, id, with: principal, on: connection)
        case .setMembers(let users, let areMembers): try setMembers(users, of: id, areMembers: areMembers, on: connection)
        case .sendEmail(let isIssued, let token): return try sendEmail(id, issue: isIssued, token: token, on: connection)
        }
        return nil
    }
}
