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
    package let authentic: [String]
    package let keyVersion: Int
    /// The attested key version, if the schema names a later one that this service never stored; nil otherwise.
    package let replacedVersion: Int?
    package let events: Int
    /// Whether the list of attested rows verifies. Without it, what was revoked can't be told from what was not.
    package let isListed: Bool
    /// How the audit differs from what was sealed; nil if it does not. Then it is sealed anew.
    let auditDifference: String?

    /// Whether another report grants the same.
    func grantsSame(as other: AttestationReport) -> Bool {
        (keyVersion, isListed, authentic, notHonoured) == (other.keyVersion, other.isListed, other.authentic, other.notHonoured)
    }
}
