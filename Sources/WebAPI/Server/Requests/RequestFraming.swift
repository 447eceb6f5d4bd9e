import HTTPTypes
import Model
import NIOHTTP1

/// Checks that a request ends where its header says.
package enum RequestFraming {
    /// Whether an error means that a request does not end where its header says. ``RequestMiddleware`` responds with 400 and closes
    /// the connection.
    package static func isBroken(_ error: any Error) -> Bool { error is HTTPParserError }

    /// Refuses a transfer coding before `chunked`, because the encoded bytes would be read as the body itself (RFC 9112 section
    /// 6.1). If `chunked` is not the last coding, the parser refuses the request, because the end of the request is not known
    /// (section 6.3).
    static func check(_ headers: HTTPFields) throws(FieldsealError) {
        guard let codings = headers[.transferEncoding]?.split(separator: ","), codings.count > 1,
            codings.last?.trimmed.lowercased() == "chunked"
        else { return }
        throw FieldsealError(
            .notImplemented,
            "The Transfer-Encoding '\(codings[0].trimmed.prefix(50))' is not supported. Send the body as it is, or chunked.")
    }
}
