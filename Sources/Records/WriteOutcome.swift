package import Foundation
import JSON
import Model
import PostgresClient

/// The result of a write.
package struct WriteOutcome: Sendable {
    package let id: UUID
    package let versionNumber: Int64
    /// Whether the record is new.
    package let isCreated: Bool
    /// The subject of a submitted e-mail.
    package var subject: String?
}
