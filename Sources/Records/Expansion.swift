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
    /// The properties that were selected of an owner. Users and teams each have only some of them.
    var asked: [String]?

    package init(_ property: String, _ query: RecordQuery = RecordQuery(), expansions: [Expansion] = []) {
        self.property = property
        self.query = query
        self.expansions = expansions
    }
}
