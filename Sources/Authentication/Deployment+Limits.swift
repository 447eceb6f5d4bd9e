import PostgresClient
package import Tenancy

extension Deployment {
    /// Deletes rows that limits no longer use: old sign-in failures, and expired entries of refused tokens and used assertions.
    package func sweepLimits() async {
        try? await AttemptLimiter.sweep(self)
        try? await pool.withConnection { connection in
            _ = try connection.query("SELECT config.forget_exposed_tokens(), config.forget_used_assertions()")
        }
    }
}
