/// Passes the trace of an incoming request on to the requests that this program sends because of it (W3C Trace Context).
package enum OutgoingTrace {
    private static let value = TaskLocal<[String]>(wrappedValue: [])

    /// The header lines that each ``HTTPSRequest`` of this task adds to its own; empty without a trace.
    static var headers: [String] { value.get() }

    /// Runs `body`, whose requests have these header lines.
    package static func with<Result: Sendable>(
        _ headers: [String], _ body: () async throws -> Result
    ) async rethrows -> Result {
        try await value.withValue(headers, operation: body)
    }
}
