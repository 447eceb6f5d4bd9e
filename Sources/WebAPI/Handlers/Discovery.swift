import Authentication
import Hummingbird
import JSON
import Tenancy

// The document by which clients find the token endpoint (OpenID Connect Discovery 1.0, RFC 8414).
extension WebAPI {
    func openIDConfiguration(_ request: Request, _ context: APIContext) async throws -> APIResponse {
        try await configuration(context, .v2)
    }

    /// Responds with the document for clients of the older token endpoint.
    func olderConfiguration(_ request: Request, _ context: APIContext) async throws -> APIResponse {
        try await configuration(context, .v1)
    }

    private func configuration(_ context: APIContext, _ version: TokenVersion) async throws -> APIResponse {
        let address = try context.organizationAddress()
        _ = try await Session.organization(named: address.organization, in: deployment)
        let root = address.url + (version == .v1 ? "/oauth2" : "/oauth2/v2.0")
        let certificates: [JSONValue] =
            switch limits.clientCertificates {
            case .off: []
            case .selfSigned: ["self_signed_tls_client_auth"]
            case .fromAuthority: ["tls_client_auth"]
            }
        let methods = JSONValue.array(["client_secret_post", "client_secret_basic", "private_key_jwt"] + certificates)
        let algorithms = JSONValue.array(ClientAssertion.algorithms.map { .string($0) })
        return APIResponse.json([
            "issuer": .string(address.issuer),
            // Libraries require this member, even if they never use it.
            "authorization_endpoint": .string("\(root)/authorize"),
            "token_endpoint": .string("\(root)/token"),
            "revocation_endpoint": .string("\(root)/revoke"),
            "jwks_uri": .string("\(address.url)/discovery/v2.0/keys"),
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": ["token"],
            "scopes_supported": [.string("\(address.url)/.default")],
            "subject_types_supported": ["public"],
            "claims_supported": ["iss", "aud", "sub", "appid", "tid", "jti", "iat", "nbf", "exp", "ver"],
            "token_endpoint_auth_methods_supported": methods,
            "token_endpoint_auth_signing_alg_values_supported": algorithms,
            "revocation_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
            "tls_client_certificate_bound_access_tokens": .bool(limits.clientCertificates != .off),
            "id_token_signing_alg_values_supported": ["ES256"],
        ])
    }

    func keySet(_ request: Request, _ context: APIContext) async throws -> APIResponse {
        _ = try await Session.organization(named: try context.organizationAddress().organization, in: deployment)
        return APIResponse.json(try await tokens.keySet())
    }
}
