import Tenancy

/// The kind of endpoint of Microsoft's identity platform that a client uses. It is a claim of its tokens.
package enum TokenVersion: String, Sendable {
    /// Clients name the target of the token in `resource`.
    case v1 = "1.0"
    /// Clients name it in `scope`.
    case v2 = "2.0"
}
