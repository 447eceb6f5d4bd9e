import Foundation
import HTTPTypes
import Hummingbird
import JSON
import Model
import NIOCore
import NIOHTTP1
import PostgresClient

/// An address that does not support the request's method (RFC 9110 section 15.5.6).
struct MethodNotAllowed: Error {
    let allowed: [HTTPRequest.Method]
    var code = ErrorCode.badRequest

    /// - Parameter code: The code in the envelope, for example that records do not support a message.
    init(_ allowed: [HTTPRequest.Method], _ code: ErrorCode) {
        self.allowed = allowed
        self.code = code
    }

    init(_ allowed: HTTPRequest.Method...) {
        self.allowed = allowed
    }
}
