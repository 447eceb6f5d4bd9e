package import Foundation
import PostgresClient
import Tenancy

/// The times of the oldest evidence in the database; nil where there is none.
package struct EvidenceAges: Sendable {
    /// When the oldest security event occurred.
    package let event: Date?
    /// When the oldest entry of the audit was made.
    package let change: Date?
    /// When the oldest e-mail was created.
    package let email: Date?
}
