import PostgresClient
public import Tenancy

extension Deployment {
    /// Deletes what limits do not look at any more: old failures of sign-ins, and refused tokens and used assertions that have expired.
    public func sweepLimits() async {
        try? await FailedSignIns.sweep(self)
        try? await pool.withConnection { connection in
            _ = try connection.query("SELECT config.forget_exposed_tokens(), config.forget_used_assertions()")
        }
    }
}
