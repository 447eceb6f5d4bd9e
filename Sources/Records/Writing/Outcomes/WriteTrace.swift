import Foundation
import Model
import PostgresClient
import Tenancy

/// The effect by which ``WriteResolution`` recognizes in the database that a write was committed.
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
