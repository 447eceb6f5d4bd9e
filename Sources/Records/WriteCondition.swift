package import Foundation
import JSON
import Model
import PostgresClient

/// The condition of a write (RFC 9110 section 13.1).
package enum WriteCondition: Sendable, Equatable {
    /// Create or update.
    case none
    /// `If-Match: *`: update only.
    case mustExist
    /// `If-None-Match: *`: create only.
    case mustNotExist
    /// `If-Match: W/"…"`: update this version only.
    case version(Int64)
    /// Update only if the lookup with this name refers to the record with the id.
    case refersTo(String, UUID)
}
