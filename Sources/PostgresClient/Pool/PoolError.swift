/// The reason why a pool has no connection for a caller.
public enum PoolError: Error, Sendable, CustomStringConvertible {
    /// All connections are lent, and none was returned in time.
    case exhausted
    /// The borrower holds its maximum number of connections, and none was returned in time.
    case shareExhausted
    /// The pool was closed.
    case closed

    /// Why the pool gave no connection.
    public var description: String {
        switch self {
        case .exhausted: "no database connection came free in time"
        case .shareExhausted: "none of the database connections that one caller may hold came free in time"
        case .closed: "the database connections are closed"
        }
    }
}
