import Synchronization

/// Says which of several writes is being done, so that an error can be reported for this write.
package final class WriteProgress: Sendable {
    private let current = Mutex(0)

    package init() {}

    /// The index of the current write.
    package internal(set) var index: Int {
        get { current.withLock { $0 } }
        set { current.withLock { $0 = newValue } }
    }
}
