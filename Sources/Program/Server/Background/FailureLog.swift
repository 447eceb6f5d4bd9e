import Logging

/// Logs what fails in regular work: each cause once, until the work succeeds again.
struct FailureLog {
    private let logger: Logger
    private let message: Logger.Message
    /// The last cause for each organization; the key is empty for work that belongs to no organization.
    private var causes: [String: String] = [:]

    /// - Parameter message: What fails, such as *audit not sealed*.
    init(_ message: Logger.Message, logger: Logger) {
        self.message = message
        self.logger = logger
    }

    /// - Parameters:
    ///   - error: Nil if the work succeeded.
    ///   - organization: Nil for work that belongs to no organization.
    mutating func note(_ error: (any Error)?, of organization: String? = nil) {
        guard let error else {
            causes[organization ?? ""] = nil
            return
        }
        let cause = "\(error)"
        guard !(error is CancellationError), causes[organization ?? ""] != cause else { return }
        causes[organization ?? ""] = cause
        var metadata: Logger.Metadata = ["error": "\(cause)"]
        if let organization { metadata["organization"] = "\(organization)" }
        logger.warning(message, metadata: metadata)
    }
}
