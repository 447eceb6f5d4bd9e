package import Foundation
import Model
import PostgresClient
import Tenancy

/// The purged key version. Backups under it open only with a copy of that organization key.
package struct KeyPurgeSummary: Sendable {
    package let keyVersion: Int
    package let fingerprint: String
    /// Dumps and backups of the organization's schema between these times are encrypted under the purged key.
    package let from: Date
    package let until: Date
}
