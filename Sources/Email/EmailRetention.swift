package import Foundation
import JSON
import Model
import PostgresClient
import Records
package import Tenancy

/// Deletes old e-mails, for a System Administrator.
///
/// The initializer checks the caller's role, so the methods do not check it again.
package struct EmailRetention: Sendable {
    private let session: Session

    /// Checks that the caller is a System Administrator.
    ///
    /// - Throws: ``FieldsealError`` `.privilegeDenied` for another role, and for a caller that acts for another user.
    package init(_ session: Session) throws {
        try session.requireSystemAdministrator(to: "delete e-mails after their time")
        self.session = session
    }

    /// How many e-mails one transaction deletes.
    private static let batch: Int64 = 500

    /// Deletes e-mails that were sent, received, completed or canceled before a time, with their parties and attachments.
    /// Drafts, failed e-mails and e-mails that wait to be sent stay.
    ///
    /// - Returns: How many e-mails were deleted. One security event records the deletion of all these e-mails.
    package func removeEmails(before date: Date) async throws -> Int {
        let emails = session.organization.qualified("email")
        var count = 0
        var last: UUID?
        while true {
            let start = last
            let removed = try await session.deployment.pool.withConnection { connection in
                try connection.query(
                    """
                    WITH old AS (SELECT activityid FROM \(emails)
                         WHERE activityid > coalesce($1, '00000000-0000-0000-0000-000000000000'::uuid)
                           AND statuscode IN \(EmailStatus.ended.sql) AND modifiedon < $2 ORDER BY activityid LIMIT $3)
                    DELETE FROM \(emails) AS e USING old WHERE e.activityid = old.activityid RETURNING e.activityid::text
                    """, [.uuid(start), .timestamp(date), .int64(Self.batch)]
                ).map { try $0.decode(0, as: String.self) }
            }
            guard let newest = removed.max().flatMap(UUID.init(text:)) else { break }
            count += removed.count
            last = newest
        }
        if count > 0 {
            try await session.record(
                SecurityEvent(.emailsRemoved, .succeeded, details: "\(count) that ended before \(ISO8601.text(date))"))
        }
        return count
    }
}
