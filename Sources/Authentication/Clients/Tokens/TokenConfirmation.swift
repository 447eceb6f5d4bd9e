import Crypto
import Foundation
import JSON
import JWTKit
import Model
import PostgresClient
import Tenancy

/// The binding of a token (RFC 7800, RFC 8705 section 3.1).
struct TokenConfirmation: Codable {
    /// SHA-256 of a client certificate, in base64url.
    let certificate: String?

    enum CodingKeys: String, CodingKey {
        case certificate = "x5t#S256"
    }
}
