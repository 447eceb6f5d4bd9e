package import Foundation
import PostgresClient
package import Tenancy

extension Session {
    /// Reads the times of the oldest security event, entry of the audit and e-mail.
    package func evidenceAges() async throws -> EvidenceAges {
        try requireSystemAdministrator(to: "read security events")
        return try await deployment.pool.withConnection { connection in
            let row = try connection.query(
                """
                SELECT (SELECT occurred_on FROM \(organization.qualified("security_event")) ORDER BY security_event_id LIMIT 1) AS event,
                       (SELECT createdon FROM \(organization.qualified("audit")) ORDER BY createdon LIMIT 1) AS change,
                       (SELECT createdon FROM \(organization.qualified("email")) ORDER BY createdon LIMIT 1) AS email
                """)[0]
            return EvidenceAges(
                event: try row.decodeIfPresent("event"), change: try row.decodeIfPresent("change"),
                email: try row.decodeIfPresent("email"))
        }
    }

    /// The time of the oldest of the given number of newest entries of the audit.
    ///
    /// - Parameter before: Only entries before this time count.
    /// - Returns: Nil if there are fewer.
    package func momentOfChange(_ number: Int, before: Date?) async throws -> Date? {
        try requireSystemAdministrator(to: "read the audit")
        return try await deployment.pool.withConnection { connection in
            try connection.query(
                """
                SELECT createdon FROM \(organization.qualified("audit")) WHERE createdon < coalesce($1, 'infinity')
                 ORDER BY createdon DESC NULLS LAST OFFSET $2 LIMIT 1
                """, [.timestamp(before), .int64(Int64(number))]
            ).first?.decode(0)
        }
    }
}
