import PostgresClient

/// Takes a request that waits for something out of the limits for requests that are worked on: it uses a socket and nothing else.
struct RequestPause: Sendable {
    let client: PoolBorrower
    let quota: RequestQuota
    let requests: ErrorMiddleware

    /// Runs `body`, for whose time the request is not counted.
    func during(_ body: @Sendable () async -> Void) async {
        quota.pause(client)
        requests.pause()
        await body()
        requests.resume()
        quota.resume(client)
    }
}
