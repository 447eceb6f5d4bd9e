package import Foundation
import PostgresClient
package import Tenancy

/// An organization that a database serves, and when it was created and attached. A copy that a move has hidden is not one.
package struct OrganizationEntry: Sendable {
    package let organization: Organization
    package let createdOn: Date
    package let attachedOn: Date?

    /// The condition that no move has hidden the schema of an organization `o` in this database. The condition does not read the
    /// table of moves, so it also works before that table exists.
    package static let inForce = """
        NOT EXISTS (SELECT FROM pg_namespace WHERE nspname IN ('arriving_' || substr(o.schema_name, 5), 'moved_' || substr(o.schema_name, 5)))
        """

    /// The organizations that are in force in a database, by name.
    package static func list(_ deployment: Deployment) async throws -> [OrganizationEntry] {
        try await deployment.pool.withConnection { connection in
            try connection.query(
                """
                SELECT organization_id, name, created_on, attached_on FROM config.organization AS o
                 WHERE \(inForce) ORDER BY name
                """
            )
            .map { row in
                OrganizationEntry(
                    organization: Organization(id: try row.decode(0), name: try row.decode(1)),
                    createdOn: try row.decode(2), attachedOn: try row.decodeIfPresent(3))
            }
        }
    }
}
