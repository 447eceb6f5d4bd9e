import Synchronization

/// Statements that were written already, by what they depend on.
final class StatementCache<Shape: Hashable & Sendable, Value: Sendable>: Sendable {
    private let values = Mutex<[Shape: Value]>([:])

    /// Past it, all are forgotten and written anew.
    private static var limit: Int { 1_000 }

    func value<Failure: Error>(of shape: Shape, _ write: () throws(Failure) -> Value) throws(Failure) -> Value {
        if let value = values.withLock({ $0[shape] }) { return value }
        let value = try write()
        values.withLock { values in
            if values.count >= Self.limit { values.removeAll() }
            values[shape] = value
        }
        return value
    }
}
