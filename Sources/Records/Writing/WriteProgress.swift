import Synchronization

/// The current one of several writes.
public final class WriteProgress: Sendable {
    private let current = Mutex(0)

    public init() {}

    /// The index of the current write.
    public internal(set) var index: Int {
        get { current.withLock { $0 } }
        set { current.withLock { $0 = newValue } }
    }
}
