import Dispatch
import Synchronization

/// A new key whose derivation runs on a thread of its own, while the database makes what the key will seal.
final class DerivedInBackground: Sendable {
    private let key = Mutex<Result<NewKey, any Error>?>(nil)
    private let isThere = DispatchSemaphore(value: 0)

    /// - Parameter derive: Makes the key; it takes a processor for some hundred milliseconds.
    init(_ derive: @escaping @Sendable () throws -> NewKey) {
        DispatchQueue.global(qos: .userInitiated).async { [self] in
            let result = Result { try derive() }
            key.withLock { $0 = result }
            isThere.signal()
        }
    }

    /// The key. Blocks the calling thread, which is a database connection's own, until it is there.
    func wait() throws -> NewKey {
        isThere.wait()
        defer { isThere.signal() }
        guard let result = key.withLock({ $0 }) else { throw CancellationError() }
        return try result.get()
    }
}
