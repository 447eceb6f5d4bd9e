import CellCrypto
import Crypto
package import Foundation
import JSON
import JWTKit
import Model
import PostgresClient
import Tenancy

/// The contents of a verified access token.
package struct VerifiedToken: Sendable {
    package let client: UUID
    /// The time at which the client, or the person at the provider, authenticated; nil if a provider does not say.
    package let signedInOn: Date?
    /// SHA-256 of the client certificate that the connection must have; nil for a bearer token.
    package let certificate: [UInt8]?
}
