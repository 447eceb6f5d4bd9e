import Synchronization

/// The current one of several writes.
package final class WriteProgress: Sendable {
    private let current = Mutex(0)

    package init() {}

    /// The index of the current write.
    package internal(set) var index: Int {
        get { current.withLock { $0 } }
        set { current.withLock { $0 = newValue } }
    }
}
