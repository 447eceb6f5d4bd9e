import Authentication
import CellCrypto
import Foundation
import KeyManagement
import Model
import PostgresClient
import Records
import Tenancy

/// The findings of `org attach` about a registered organization, and its changes.
package struct AttestationReport: Sendable {
    /// The differences from the attested state, in the order of the checks; empty if there are none.
    package let differences: [String]
    /// Rows that grant nothing, neither before nor after.
    package let notHonoured: [String]
    /// Rows that grant access afterwards.
    package let honoured: [String]
    package let keyVersion: Int
    package let events: Int
}
