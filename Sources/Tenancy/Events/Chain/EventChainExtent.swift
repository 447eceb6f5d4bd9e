import CellCrypto
import PostgresClient

/// The extent of a verification of security events.
package enum EventChainExtent: Sendable {
    /// Every event, and their number.
    case whole
    /// The end, and at most this number of events: a shorter chain from its beginning, a longer one from the checkpoint.
    case recent(limit: Int)
    /// The end, and every event since the checkpoint.
    case sinceCheckpoint
}
