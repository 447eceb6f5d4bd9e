public import CCurl

/// An error of libcurl (`libcurl-errors(3)`), without the transfer's contents.
public struct CurlError: Error, Sendable, CustomStringConvertible {
    public let code: CURLcode
    /// libcurl's message, with the text of the error buffer.
    public let reason: String

    public var description: String { reason }

    init(_ code: CURLcode) { self.init(code: code, reason: String(cString: curl_easy_strerror(code))) }

    init(code: CURLcode, reason: String) {
        self.code = code
        self.reason = reason
    }

    /// The server sent more than the limit.
    public static let tooLarge = CurlError(code: CURLE_FILESIZE_EXCEEDED, reason: "the server sent more than is taken")
}
