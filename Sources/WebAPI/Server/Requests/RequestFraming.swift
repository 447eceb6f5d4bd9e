import HTTPTypes
import Model
import NIOHTTP1

/// Checks that a request ends where its header says.
package enum RequestFraming {
    /// Whether an error means that it does not. ``ErrorMiddleware`` responds with 400 and closes the connection.
    package static func isBroken(_ error: any Error) -> Bool { error is HTTPParserError }

    /// Refuses a transfer coding other than `chunked`, which would be read as the body itself (RFC 9112 section 6.1).
    static func check(_ headers: HTTPFields) throws(FieldsealError) {
        guard let coding = headers[.transferEncoding], coding.trimmed.lowercased() != "chunked" else { return }
        throw FieldsealError(
            .notImplemented, "The Transfer-Encoding '\(coding.prefix(50))' is not supported. Send the body as it is, or chunked.")
    }
}
