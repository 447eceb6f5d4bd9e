import Crypto
import Foundation
import JSON
import Model

/// The proof with which a client authenticates at the token endpoint.
package enum ClientProof: Sendable {
    case secret(String)
    case assertion(ClientAssertion)
    /// SHA-256 of the client's certificate in the TLS handshake (RFC 8705).
    case certificate([UInt8])
}
