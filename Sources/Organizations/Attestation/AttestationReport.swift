import Authentication
import CellCrypto
import Foundation
import KeyManagement
import Model
import PostgresClient
import Records
import Tenancy

/// What `org attach` finds in a registered organization, and what it changes.
package struct AttestationReport: Sendable {
    /// The differences from the attested state, in the order of the checks; empty if there are none.
    package let differences: [String]
    /// Rows that grant nothing before `org attach`, and still grant nothing after it.
    package let notHonoured: [String]
    /// Rows that grant access after `org attach`.
    package let authentic: [String]
    package let keyVersion: Int
    /// The attested key version, if the schema names a later version that this service never stored; nil otherwise.
    package let replacedVersion: Int?
    package let events: Int
    /// Whether the list of attested rows verifies. Without a valid list, the service can't distinguish revoked rows from rows in
    /// force.
    package let isListed: Bool
    /// How the audit differs from its sealed state; nil if it does not. If the audit differs, its present entries are sealed anew.
    let auditDifference: String?

    /// Whether another report grants the same access.
    func grantsSame(as other: AttestationReport) -> Bool {
        (keyVersion, isListed, authentic, notHonoured) == (other.keyVersion, other.isListed, other.authentic, other.notHonoured)
    }
}
