import CellCrypto
import PostgresClient

/// The extent of a verification of security events.
package enum EventChainExtent: Sendable {
    /// Every event, and their number.
    case whole
    /// The end, and at most this number of events. A chain with no more events is verified from its beginning, a longer chain
    /// from the checkpoint.
    case recent(limit: Int)
    /// The end, and every event since the checkpoint.
    case sinceCheckpoint
}
