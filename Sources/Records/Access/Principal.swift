package import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

/// A user or a team.
package struct Principal: Sendable, Equatable {
    /// `systemuser` or `team`.
    package let entity: String
    package let id: UUID

    package init(entity: String, id: UUID) {
        self.entity = entity
        self.id = id
    }
}
