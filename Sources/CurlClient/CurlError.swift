public import CCurl

/// What libcurl says went wrong (`libcurl-errors(3)`), without anything of the transfer's content.
public struct CurlError: Error, Sendable, CustomStringConvertible {
    public let code: CURLcode
    /// libcurl's words, with what the error buffer adds.
    public let reason: String

    public var description: String { reason }

    init(_ code: CURLcode) { self.init(code: code, reason: String(cString: curl_easy_strerror(code))) }

    init(code: CURLcode, reason: String) {
        self.code = code
        self.reason = reason
    }

    /// The server sent more than was allowed.
    public static let tooLarge = CurlError(code: CURLE_FILESIZE_EXCEEDED, reason: "the server sent more than is taken")
}
