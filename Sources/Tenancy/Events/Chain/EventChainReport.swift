import CellCrypto
import PostgresClient

/// The result of verifying the chain of an organization's security events.
package struct EventChainReport: Sendable {
    /// Each broken link of the chain, and an end that differs from the attested end.
    package var problems: [String] = []
    /// How many more broken links there are than `problems` lists.
    package var omitted = 0
    /// How many events were verified.
    package var verified = 0
    /// Whether every event from the checkpoint to the end of the chain was verified. Events before the checkpoint were verified
    /// earlier.
    package var reachesEnd = false
}
