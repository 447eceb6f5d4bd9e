public import Foundation
import PostgresClient
public import Tenancy

/// Since when there is evidence in the database; nil where there is none.
public struct EvidenceAges: Sendable {
    /// When the oldest security event occurred.
    public let event: Date?
    /// When the oldest entry of the audit was made.
    public let change: Date?
    /// When the oldest e-mail was created.
    public let email: Date?
}

extension Session {
    /// Since when there are security events, entries of the audit and e-mails.
    public func evidenceAges() async throws -> EvidenceAges {
        try requireSystemAdministrator(to: "read security events")
        return try await deployment.pool.withConnection { connection in
            let row = try connection.query(
                """
                SELECT (SELECT occurred_on FROM \(organization.qualified("security_event")) ORDER BY security_event_id LIMIT 1),
                       (SELECT createdon FROM \(organization.qualified("audit")) ORDER BY createdon LIMIT 1),
                       (SELECT createdon FROM \(organization.qualified("email")) ORDER BY createdon LIMIT 1)
                """)[0]
            return EvidenceAges(
                event: try row.decodeIfPresent(0), change: try row.decodeIfPresent(1), email: try row.decodeIfPresent(2))
        }
    }

    /// When the oldest of so many newest entries of the audit was made.
    ///
    /// - Parameter before: Only entries before this moment count.
    /// - Returns: Nil where there are fewer.
    public func momentOfChange(_ number: Int, before: Date?) async throws -> Date? {
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
