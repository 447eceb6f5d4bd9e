import Tenancy

/// The version of Microsoft's identity platform whose endpoint a client uses. The token's claim `ver` has this version.
package enum TokenVersion: String, Sendable {
    /// Clients name the target of the token in `resource`.
    case v1 = "1.0"
    /// Clients name the target of the token in `scope`.
    case v2 = "2.0"
}
