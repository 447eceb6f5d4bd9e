/// The trace of the request for which this program sends others (W3C Trace Context).
package enum OutgoingTrace {
    private static let value = TaskLocal<[String]>(wrappedValue: [])

    /// The header lines that each ``HTTPSRequest`` of this task has besides its own; empty without a trace.
    static var headers: [String] { value.get() }

    /// Runs `body`, whose requests have these header lines.
    package static func with<Result: Sendable>(
        _ headers: [String], _ body: () async throws -> Result
    ) async rethrows -> Result {
        try await value.withValue(headers, operation: body)
    }
}
