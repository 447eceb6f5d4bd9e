import HummingbirdCore
import Logging
import Synchronization

/// The handlers of a TLS listener for new connections. The authorities of clients' certificates are part of the TLS context, so the
/// handlers are made anew when the authorities were replaced.
final class CurrentChannel<Inner: ServerChildChannel>: Sendable {
    private let identities: ServerIdentities
    private let make: @Sendable () throws -> Inner
    private let logger: Logger
    private let made: Mutex<Made>

    private struct Made {
        var inner: Inner
        /// How often the authorities had been replaced when the handlers were made, or could not be made.
        var authorityReloads: Int
    }

    init(_ identities: ServerIdentities, logger: Logger, _ make: @escaping @Sendable () throws -> Inner) throws {
        self.identities = identities
        self.make = make
        self.logger = logger
        // The number of reloads is read first. So if the authorities are replaced meanwhile, the next connection notices it.
        let reloads = identities.authorityReloads
        made = Mutex(Made(inner: try make(), authorityReloads: reloads))
    }

    /// The handlers for a connection that was accepted now.
    func currentHandlers() -> Inner {
        let reloads = identities.authorityReloads
        return made.withLock { made in
            guard made.authorityReloads != reloads else { return made.inner }
            // The number of reloads is stored first. So if making the handlers fails, it is tried again after the next reload, and
            // not for each connection.
            made.authorityReloads = reloads
            do {
                made.inner = try make()
            } catch {
                logger.error(
                    "the authorities of clients' certificates can't be used: the former ones stay", metadata: ["error": "\(error)"])
            }
            return made.inner
        }
    }
}
