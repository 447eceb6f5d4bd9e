import Foundation
import Model
import PostgresClient
import Tenancy

/// What a write leaves in the database, as far as it is known before the response.
struct WriteTrace: Sendable {
    enum Effect: Sendable {
        /// - Parameter isOwnID: Whether this server chose the id, so that no other write can have created the record.
        case create(isOwnID: Bool)
        case update(WriteCondition)
        case delete
    }

    let entity: EntityDefinition
    /// Nil when the record is named by a key other than its id.
    let id: UUID?
    let effect: Effect
}
