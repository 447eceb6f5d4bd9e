package import Foundation
package import Model
import PostgresClient
package import Tenancy

extension Session {
    /// Whether the service wrote the settings of a record that decide where passwords are sent. Also true for a record without
    /// such settings.
    package func isMailDestinationAuthorized(_ entity: EntityDefinition, _ id: UUID) async throws -> Bool {
        guard MailDestination.entities.contains(where: { $0.logicalName == entity.logicalName }) else { return true }
        return try await deployment.pool.withConnection { connection in
            let found = try MailDestination.read(
                MailDestination.Place(entity: entity.logicalName, id: id), state.grants, in: organization, under: kek, locks: false,
                on: connection)
            return found.map { $0.destination.isEmpty || $0.isAuthorized } ?? true
        }
    }
}
