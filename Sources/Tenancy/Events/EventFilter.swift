package import Foundation
import PostgresClient

/// A filter for security events.
package struct EventFilter: Sendable {
    package var kinds: [String] = []
    package var outcome: String?
    /// The actor, such as `user:ada`.
    package var actor: String?
    /// A text in the details, such as a record's id.
    package var details: String?
    /// Ids of records. An event also matches if its details name one of these records, even if they do not contain the text in
    /// ``details``.
    package var records: [UUID] = []
    package var from: Date?
    package var until: Date?
    /// The number of an event. Only earlier events match, for the next page.
    package var before: Int?

    package init() {}

    /// Whether the filter has an actor, details or an outcome. If so, only the newest events are searched.
    var isSearch: Bool { actor != nil || details != nil || outcome != nil }
}
