package import Foundation
import PostgresClient

/// What a System Administrator may read about the audit. The audit's entries themselves are records, and are read as such.
///
/// The initializer checks the caller's role, so the methods do not check it again.
package struct AuditReading: Sendable {
    private let session: Session

    /// Checks that the caller is a System Administrator.
    ///
    /// - Throws: ``FieldsealError`` `.privilegeDenied` for another role, and for a caller that acts for another user.
    package init(_ session: Session) throws {
        try session.requireSystemAdministrator(to: "read the audit")
        self.session = session
    }

    /// The time of the newest entry of the audit that is older than the newest `number` entries.
    ///
    /// - Parameter before: Only entries before this time count.
    /// - Returns: Nil if there is no such entry.
    package func momentOfChange(_ number: Int, before: Date?) async throws -> Date? {
        try await session.deployment.pool.withConnection { connection in
            try connection.query(
                """
                SELECT createdon FROM \(session.organization.qualified("audit")) WHERE createdon < coalesce($1, 'infinity')
                 ORDER BY createdon DESC NULLS LAST OFFSET $2 LIMIT 1
                """, [.timestamp(before), .int64(Int64(number))]
            ).first?.decode(0)
        }
    }
}
