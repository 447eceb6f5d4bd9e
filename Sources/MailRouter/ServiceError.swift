import CurlClient
import Foundation
import RouterProtocol

/// The reason why a request to the service failed.
enum ServiceError: Error, CustomStringConvertible {
    /// The service is unreachable or too busy. The request is retried later.
    case away(String)
    /// Another router has the mailbox.
    case leaseLost
    /// The service refuses the request.
    case refused(status: Int, code: String, message: String)

    var description: String {
        switch self {
        case .away(let why): "the service is unavailable: \(why)"
        case .leaseLost: "another router has leased the mailbox"
        case .refused(let status, let code, let message): "the service refuses: \(message) [\(status) \(code)]"
        }
    }
}
