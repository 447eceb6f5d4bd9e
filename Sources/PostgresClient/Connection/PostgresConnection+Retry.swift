import CLibPQ
import Glibc

// Repeats transactions that PostgreSQL rolled back.
extension PostgresConnection {
    /// How many attempts at a transaction are made.
    static let attemptLimit = 8

    /// Runs a transaction. Retries the transaction if PostgreSQL rolled it back because of concurrent transactions, or a prepared
    /// plan was stale.
    ///
    /// Within an open transaction `body` runs only once. If `body` fails in an open transaction, earlier statements are rolled back
    /// too, and `body` could not repeat them.
    func retrying<Result>(_ body: () throws -> Result) throws -> Result {
        guard isReady else { return try body() }
        var attempt = 1
        while true {
            do {
                return try body()
            } catch let error as PostgresError where error.isRetryable && isReady && attempt < Self.attemptLimit {
                // The pause is random, so that the same transactions don't conflict again.
                if !error.isStalePlan { usleep(UInt32.random(in: 1_000...20_000) * UInt32(attempt)) }
                // After a stale plan, one more attempt is enough. If the error occurs again, it has another cause.
                attempt = error.isStalePlan ? Self.attemptLimit : attempt + 1
            }
        }
    }
}
