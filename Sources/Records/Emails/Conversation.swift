package import Foundation
import Model
import PostgresClient
package import Tenancy

/// The e-mails of a conversation: the first one, and all that answer it, directly or not.
package struct Conversation: Sendable {
    /// The ids of the e-mails, including e-mails that the caller may not read.
    package let ids: [UUID]
    /// Whether the conversation has more e-mails than the limit, so that ``ids`` lacks some.
    package let isCut: Bool
}

extension Session {
    /// The largest number of e-mails that are read of a conversation.
    package static let conversationLimit = 200

    /// Finds the conversation that an e-mail belongs to. A deleted e-mail divides its conversation into several.
    package func conversation(of email: UUID) async throws -> Conversation {
        _ = try caller.require(.retrieveMultiple, on: .email)
        let table = organization.qualified("email")
        let limit = Self.conversationLimit
        return try await deployment.pool.withConnection { connection in
            let rows = try connection.query(
                """
                WITH RECURSIVE up (activityid, parentactivityid, height) AS (
                    SELECT activityid, parentactivityid, 0 FROM \(table) WHERE activityid = $1
                    UNION ALL
                    SELECT p.activityid, p.parentactivityid, up.height + 1
                      FROM up JOIN \(table) AS p ON p.activityid = up.parentactivityid WHERE up.height < $2
                ), down (activityid) AS (
                    (SELECT activityid FROM up ORDER BY height DESC LIMIT 1)
                    UNION
                    SELECT a.activityid FROM down JOIN \(table) AS a ON a.parentactivityid = down.activityid
                )
                SELECT activityid, (SELECT max(height) FROM up) AS height FROM down LIMIT $2 + 1
                """, [.uuid(email), .int32(Int32(limit))])
            let ids = try rows.map { try $0.decode("activityid", as: UUID.self) }
            let isBelow = try rows.first.map { try $0.decode("height", as: Int.self) >= limit } ?? false
            return Conversation(ids: Array(ids.prefix(limit)), isCut: isBelow || ids.count > limit)
        }
    }
}
