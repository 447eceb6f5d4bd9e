package import Foundation
import Model
import PostgresClient
import Records
package import Tenancy

extension Session {
    /// Why an e-mail that the caller may read was not sent, or not yet; nil if no reason is recorded.
    package func sendingFailure(of email: UUID) async throws -> SendingFailure? {
        _ = try await retrieve(.email, .id(email), [.init(.column(.init("activityid")))])
        return try await deployment.pool.withConnection { connection in
            let rows = try connection.query(
                "SELECT failure FROM \(organization.qualified("email")) WHERE activityid = $1", [.uuid(email)])
            return try rows.first?.decodeIfPresent(0, as: String.self).map(SendingFailure.init)
        }
    }
}
