/// Which requests are logged.
package struct RequestLog: Sendable {
    /// Which requests may be logged: all requests, only requests that failed, or no request.
    package enum Extent: String, Sendable, CaseIterable {
        case all
        /// Requests that were answered with a status of 400 or more.
        case failed
        case none
    }

    package var extent = Extent.all
    /// One in this number of successful requests is logged.
    package var sampling = 1

    /// Whether to log a request.
    ///
    /// - Parameter number: The request's number on this server.
    func hasLine(status: Int, number: Int) -> Bool {
        switch extent {
        case .none: false
        case .failed: status >= Self.failure
        case .all: status >= Self.failure || number % sampling == 0
        }
    }

    private static let failure = 400
}
