import PostgresClient

extension Deployment {
    /// Deletes what limits do not look at any more: old failures of sign-ins, and exposed tokens that have expired.
    public func sweepLimits() async {
        try? await FailedSignIns.sweep(self)
        try? await pool.withConnection { _ = try $0.query("SELECT config.forget_exposed_tokens()") }
    }
}
