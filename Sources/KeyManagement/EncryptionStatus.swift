package import Foundation
import PostgresClient
import Tenancy

/// The state of an organization's encryption, for its administrators. The state contains no bytes of a key.
package struct EncryptionStatus: Sendable {
    package let isActive: Bool
    package let keyVersion: Int
    package let fingerprint: String
    package let setOn: Date
    /// `generated`, `chosen` or `activated`; nil when `config` has no key.
    package let origin: String?
    /// When the organization key was first copied; nil if never.
    package let copiedOn: Date?
    /// When the key should be changed: one year after it was set.
    package let nextChangeDue: Date
}
