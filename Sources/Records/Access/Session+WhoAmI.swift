package import Foundation
import Model
import PostgresClient
package import Tenancy

extension Session {
    /// The caller's ids for Dataverse's WhoAmI message.
    package func whoAmI() async throws -> (user: UUID, businessUnit: UUID, organization: UUID) {
        guard let user = caller.systemUserID else {
            throw FieldsealError(.notAUser, "The caller is not a user of this organization.")
        }
        let rows = try await deployment.pool.withConnection { connection in
            try connection.query(
                "SELECT businessunitid FROM \(organization.qualified("systemuser")) WHERE systemuserid = $1", [.uuid(user)])
        }
        guard let row = rows.first else {
            throw FieldsealError(.notAUser, "The caller's user is not in this organization any more.")
        }
        return (user, try row.decode(0), organization.id)
    }
}
