import Tenancy

/// One organization, with its address in the request. URLs in the response begin with that address.
package struct OrganizationAddress: Sendable, Equatable {
    /// The organization's name. The organization may not exist.
    package let organization: String
    /// The address, without a trailing slash.
    package let url: String

    /// The token issuer's identifier: the address below which clients find its description.
    package var issuer: String { url + Self.issuerPath }

    static let issuerPath = "/v2.0"

    /// The authority for Microsoft's libraries, which need an authority with a path.
    package var authority: String { url.hasSuffix("/\(organization)") ? url : "\(url)/\(organization)" }

    /// The `WWW-Authenticate` header of a response that requests a token. Clients of Dataverse read from it where to get a token,
    /// and for which resource.
    package var challenge: String { "Bearer authorization_uri=\(authority)/oauth2/authorize, resource_id=\(url)/" }
}
