import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

/// A navigation property to expand.
package struct Expansion: Sendable {
    package var property: String
    package var query: RecordQuery
    package var expansions: [Expansion]
    /// Whether only the addresses of the records are requested.
    package var isReference = false
    /// The properties that the client selected of an owner, which is a user or a team. Some of these properties may exist only for
    /// users, or only for teams.
    var asked: [String]?

    package init(_ property: String, _ query: RecordQuery = RecordQuery(), expansions: [Expansion] = []) {
        self.property = property
        self.query = query
        self.expansions = expansions
    }
}
