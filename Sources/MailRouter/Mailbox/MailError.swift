import CurlClient
import RouterProtocol

/// An error of a mail server.
enum MailError: Error, CustomStringConvertible {
    case protocolError(String)
    /// The server refused a command, with this text. The connection stays usable.
    case refused(String)
    /// The server ended the session.
    case goodbye(String)
    /// The server ended the session after this answer to a command of SMTP.
    case ended(String)
    case tooLarge(Int)
    case stopped

    var description: String {
        switch self {
        case .protocolError(let text), .refused(let text), .goodbye(let text), .ended(let text): text
        case .tooLarge(let size): "a message of \(size) bytes is larger than the router accepts"
        case .stopped: "the router is being stopped"
        }
    }
}
