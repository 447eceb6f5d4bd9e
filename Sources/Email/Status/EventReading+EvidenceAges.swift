import Foundation
import PostgresClient
package import Tenancy

extension EventReading {
    /// Reads the times of the oldest security event, entry of the audit and e-mail.
    package func evidenceAges() async throws -> EvidenceAges {
        let organization = session.organization
        return try await session.deployment.pool.withConnection { connection in
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
}
