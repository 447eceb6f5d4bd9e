import CellCrypto
import Foundation
import KeyManagement
import Migrations
import Model
import PostgresClient
import Records
package import Tenancy

/// The result of encrypting an organization's plaintext, or of its rehearsal.
package struct PlaintextUpgradeSummary: Sendable {
    package let organization: Organization
    /// Copied records by table.
    package let records: [(table: String, count: Int)]
    package let cells: Int
    package let duration: Duration
    /// The values that were encrypted, to search files for copies of them.
    package let plaintexts: PlaintextScan
    /// Everything that an upgrade would lose: its name for `--discard`, and a description.
    package let losses: [(name: String, description: String)]
    /// Losses that were not accepted; empty after an upgrade.
    package let unaccepted: [String]
}
