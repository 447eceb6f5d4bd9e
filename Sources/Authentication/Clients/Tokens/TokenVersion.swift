import Tenancy

/// The version of Microsoft's identity platform whose endpoint a client uses. It becomes the token's claim `ver`.
package enum TokenVersion: String, Sendable {
    /// Clients name the target of the token in `resource`.
    case v1 = "1.0"
    /// Clients name the target of the token in `scope`.
    case v2 = "2.0"
}
