package import Foundation
import PostgresClient
import Tenancy

/// One version of an organization's key. The entry contains no bytes of the key.
package struct KeyHistoryEntry: Sendable {
    package let keyVersion: Int
    package let fingerprint: String
    package let origin: String
    package let createdOn: Date
    package let createdBy: String
    package let createdFrom: String?
    package let retiredOn: Date?
    package let cells: Int?
    /// The duration of the change in seconds.
    package let duration: Double?
    /// Seconds that writers waited at the end of the change.
    package let pause: Double?
    /// When the wrapped key was removed.
    package let purgedOn: Date?
    package let changeID: UUID
}
