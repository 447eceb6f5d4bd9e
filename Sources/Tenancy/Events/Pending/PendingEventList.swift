import CellCrypto
import Foundation
import JSON
import Model
import PostgresClient
import Synchronization

/// Organizations with new events to be linked into the chain.
package final class PendingEventList: Sendable {
    private let names = Mutex<Set<String>>([])

    /// Remembers that the organization has events to link.
    package func note(_ organization: Organization) { names.withLock { _ = $0.insert(organization.name) } }

    /// The names that were added since the last call.
    func take() -> Set<String> {
        names.withLock { names in
            defer { names = [] }
            return names
        }
    }
}
