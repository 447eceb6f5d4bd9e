import Synchronization

/// A cache of computed values with a maximum size.
package final class BoundedCache<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private let values = Mutex<[Key: Value]>([:])

    /// The largest number of values. When a value is added to a full cache, all earlier values are removed.
    private static var limit: Int { 1_000 }

    package init() {}

    /// Returns the value of a key. If the cache lacks it, `workOut` computes it; an error of `workOut` is thrown and not stored.
    package func value<Failure: Error>(of key: Key, _ workOut: () throws(Failure) -> Value) throws(Failure) -> Value {
        if let value = values.withLock({ $0[key] }) { return value }
        let value = try workOut()
        values.withLock { values in
            if values.count >= Self.limit { values.removeAll() }
            values[key] = value
        }
        return value
    }
}
