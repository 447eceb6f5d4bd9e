import CLibPQ
import Glibc

// Repeating what PostgreSQL took back.
extension PostgresConnection {
    /// Attempts at a transaction at most.
    static let attemptLimit = 8

    /// Runs a transaction, and runs it again when PostgreSQL took it back for the sake of others, or a prepared plan was stale.
    ///
    /// Inside an open transaction `body` runs once: what was done before it is lost too, and is not in `body`.
    func retrying<Result>(_ body: () throws -> Result) throws -> Result {
        guard isReady else { return try body() }
        var attempt = 1
        while true {
            do {
                return try body()
            } catch let error as PostgresError where error.isRetryable && isReady && attempt < Self.attemptLimit {
                // Each waits a time of its own, so that the same transactions don't meet again.
                if !error.isStalePlan { usleep(UInt32.random(in: 1_000...20_000) * UInt32(attempt)) }
                // One fresh plan is enough; an error that stays is not the plan's.
                attempt = error.isStalePlan ? Self.attemptLimit : attempt + 1
            }
        }
    }
}
