import Dispatch
import Synchronization

/// A new key that is derived on a separate thread while the database creates the organization's schema.
final class DerivedInBackground: Sendable {
    private let key = Mutex<Result<NewKey, any Error>?>(nil)
    private let isThere = DispatchSemaphore(value: 0)

    /// - Parameter derive: Derives the key. The derivation keeps one processor busy for some hundred milliseconds.
    init(_ derive: @escaping @Sendable () throws -> NewKey) {
        DispatchQueue.global(qos: .userInitiated).async { [self] in
            let result = Result { try derive() }
            key.withLock { $0 = result }
            isThere.signal()
        }
    }

    /// Returns the key once it is derived. Until then this function blocks the calling thread, which belongs to a database
    /// connection.
    func wait() throws -> NewKey {
        isThere.wait()
        defer { isThere.signal() }
        guard let result = key.withLock({ $0 }) else { throw CancellationError() }
        return try result.get()
    }
}
