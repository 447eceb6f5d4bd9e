import CellCrypto
import PostgresClient

/// The extent of a verification of security events.
package enum EventChainExtent: Sendable {
    /// Every event of the chain, and whether there are as many events as attested.
    case whole
    /// The end of the chain, and at most this number of events. A chain with at most this number is verified from its beginning,
    /// and a longer chain from the checkpoint.
    case recent(limit: Int)
    /// The end of the chain, and every event since the checkpoint.
    case sinceCheckpoint
}
