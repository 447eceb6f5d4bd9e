import Synchronization

/// Which of several writes is being done.
public final class WriteProgress: Sendable {
    private let current = Mutex(0)

    public init() {}

    /// The place of the write among the others, from 0.
    public internal(set) var index: Int {
        get { current.withLock { $0 } }
        set { current.withLock { $0 = newValue } }
    }
}
