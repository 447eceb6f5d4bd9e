import CellCrypto
import PostgresClient

/// The result of a verification.
package struct EventChainReport: Sendable {
    /// Each broken link, and a wrong end.
    package var problems: [String] = []
    /// How many more broken links there are.
    package var omitted = 0
    /// How many events were verified.
    package var verified = 0
    /// Whether every event before the end was verified, apart from those before the checkpoint.
    package var reachesEnd = false
}
