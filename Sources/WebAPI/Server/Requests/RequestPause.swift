import PostgresClient

/// Excludes a waiting request from the limits for requests in progress, because it uses only a socket.
struct RequestPause: Sendable {
    let client: PoolBorrower
    let quota: RequestQuota
    let requests: RequestMiddleware

    /// Runs `body`. The request is not counted meanwhile.
    func during(_ body: @Sendable () async -> Void) async {
        quota.pause(client)
        requests.pause()
        await body()
        requests.resume()
        quota.resume(client)
    }
}
