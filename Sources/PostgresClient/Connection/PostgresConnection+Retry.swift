import CLibPQ
import Glibc

// Repeats transactions that PostgreSQL rolled back.
extension PostgresConnection {
    /// How many attempts at a transaction are made.
    static let attemptLimit = 8

    /// Runs a transaction, and repeats it when PostgreSQL rolled it back because of others, or a prepared plan was stale.
    ///
    /// Within an open transaction `body` runs once, because earlier statements of the transaction are lost too and are not in
    /// `body`.
    func retrying<Result>(_ body: () throws -> Result) throws -> Result {
        guard isReady else { return try body() }
        var attempt = 1
        while true {
            do {
                return try body()
            } catch let error as PostgresError where error.isRetryable && isReady && attempt < Self.attemptLimit {
                // A random pause, so that the same transactions don't collide again.
                if !error.isStalePlan { usleep(UInt32.random(in: 1_000...20_000) * UInt32(attempt)) }
                // One new plan is enough. A repeated error has another cause.
                attempt = error.isStalePlan ? Self.attemptLimit : attempt + 1
            }
        }
    }
}
