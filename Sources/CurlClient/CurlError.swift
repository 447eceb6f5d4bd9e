internal import CCurl

/// An error of libcurl (`libcurl-errors(3)`), without the transfer's contents.
package struct CurlError: Error, Sendable, CustomStringConvertible {
    /// The causes that callers handle differently.
    package enum Kind: Sendable {
        /// The server refused the user name, the password or the token.
        case signInRefused
        /// The server refuses every sign-in at the moment, or every sign-in of this user.
        case signInDeferred
        /// The server's certificate is not trusted, or the authorities' file can't be read.
        case certificate
        /// The server does not offer TLS on a connection that needs it.
        case tlsNotOffered
        /// The TLS handshake failed.
        case tlsFailed
        /// There is no connection, or no answer in time.
        case unreachable
        /// The server sent more than was allowed.
        case tooLarge
        /// Everything else; ``CurlError/reason`` says what.
        case other
    }

    /// What went wrong, for a caller that acts on it.
    package var kind: Kind {
        let kind = Kind(code)
        return kind == .signInRefused && isTemporary ? .signInDeferred : kind
    }
    let code: CURLcode
    /// libcurl's text for the code, and the details from its error buffer.
    package let reason: String
    /// Whether the server's last response is about a temporary error.
    private let isTemporary: Bool

    package var description: String { reason }

    init(_ code: CURLcode) { self.init(code: code, reason: String(cString: curl_easy_strerror(code))) }

    init(code: CURLcode, reason: String, isTemporary: Bool = false) {
        self.code = code
        self.reason = reason
        self.isTemporary = isTemporary
    }

    /// The server sent more than the limit.
    package static let tooLarge = CurlError(
        code: CURLE_FILESIZE_EXCEEDED, reason: "the server sent more data than the limit allows")
}

extension CurlError.Kind {
    init(_ code: CURLcode) {
        switch code {
        case CURLE_LOGIN_DENIED, CURLE_AUTH_ERROR: self = .signInRefused
        case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_ISSUER_ERROR: self = .certificate
        case CURLE_USE_SSL_FAILED: self = .tlsNotOffered
        case CURLE_SSL_CONNECT_ERROR: self = .tlsFailed
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_CONNECT, CURLE_OPERATION_TIMEDOUT, CURLE_SEND_ERROR, CURLE_RECV_ERROR,
            CURLE_GOT_NOTHING, CURLE_WEIRD_SERVER_REPLY:
            self = .unreachable
        case CURLE_FILESIZE_EXCEEDED: self = .tooLarge
        default: self = .other
        }
    }
}
