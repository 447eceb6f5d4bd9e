import HummingbirdCore
import Synchronization

/// The handlers of a TLS listener for new connections. The authorities of clients' certificates are part of the TLS context, so they
/// are made anew when these were replaced.
final class CurrentChannel<Inner: ServerChildChannel>: Sendable {
    private let identities: ServerIdentities
    private let make: @Sendable () throws -> Inner
    private let made: Mutex<Made>

    private struct Made {
        let inner: Inner
        /// The number of reloads of the authorities before this channel was made.
        let changes: Int
    }

    init(_ identities: ServerIdentities, _ make: @escaping @Sendable () throws -> Inner) throws {
        self.identities = identities
        self.make = make
        // Read first: what is replaced meanwhile is noticed at the next connection.
        let changes = identities.authorityChanges
        made = Mutex(Made(inner: try make(), changes: changes))
    }

    /// The handlers for a connection that was accepted now.
    func get() -> Inner {
        let changes = identities.authorityChanges
        return made.withLock { made in
            // Those in use stay if no context can be made.
            if made.changes != changes, let new = try? make() {
                made = Made(inner: new, changes: changes)
            }
            return made.inner
        }
    }
}
