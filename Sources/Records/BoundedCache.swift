import Synchronization

/// What was worked out already, by what it depends on.
public final class BoundedCache<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private let values = Mutex<[Key: Value]>([:])

    /// Past it, all are forgotten and worked out anew.
    private static var limit: Int { 1_000 }

    public init() {}

    /// The value of a key; an error is thrown on, and not kept.
    public func value<Failure: Error>(of key: Key, _ workOut: () throws(Failure) -> Value) throws(Failure) -> Value {
        if let value = values.withLock({ $0[key] }) { return value }
        let value = try workOut()
        values.withLock { values in
            if values.count >= Self.limit { values.removeAll() }
            values[key] = value
        }
        return value
    }
}
