import Authentication
import Foundation
import HTTPTypes
import Hummingbird
import JSON
import Tenancy

// The endpoint where clients get access tokens (RFC 6749 section 4.4) and revoke them (RFC 7009).
extension WebAPI {
    func token(_ request: Request, _ context: APIContext) async throws -> APIResponse {
        try await token(request, context, .v2)
    }

    /// The older endpoint of Microsoft's identity platform. Clients of that endpoint send a `resource`.
    func olderToken(_ request: Request, _ context: APIContext) async throws -> APIResponse {
        try await token(request, context, .v1)
    }

    private func token(_ request: Request, _ context: APIContext, _ version: TokenVersion) async throws -> APIResponse {
        let address = try context.organizationAddress()
        let organization = try await Session.organization(named: address.organization, in: deployment)
        return try await answer {
            let form = try OAuthForm(try await body(request), contentType: request.headers[.contentType])
            guard let grant = try form["grant_type"], !grant.isEmpty else {
                throw OAuthError("invalid_request", "The form lacks grant_type, which must be client_credentials.")
            }
            guard grant == "client_credentials" else {
                throw OAuthError("unsupported_grant_type", "The grant_type must be client_credentials.")
            }
            try checkAudience(form, address)
            let (client, certificate) = try await authenticated(form, request, context, organization)
            let token = try await tokens.issue(
                to: client, in: organization, at: address, version: version, boundTo: certificate)
            var members: [JSONValue.Member] = [
                .init("access_token", .string(token)), .init("token_type", "Bearer"),
                .init("expires_in", .integer(Int64(TokenIssuer.lifetime))),
            ]
            if version == .v1 {
                // Seconds since 1970 as a text, as clients of the older endpoint expect.
                members.append(.init("expires_on", .string("\(Int(Date().timeIntervalSince1970) + TokenIssuer.lifetime)")))
                members.append(.init("resource", .string(try form["resource"] ?? address.url)))
            }
            return APIResponse.json(.object(members), headers: [.cacheControl: "no-store"])
        }
    }

    /// Revokes an access token of the client. An invalid token is not an error (RFC 7009 section 2.2).
    func revoke(_ request: Request, _ context: APIContext) async throws -> APIResponse {
        let address = try context.organizationAddress()
        let organization = try await Session.organization(named: address.organization, in: deployment)
        return try await answer {
            let form = try OAuthForm(try await body(request), contentType: request.headers[.contentType])
            guard let token = try form["token"], !token.isEmpty else {
                throw OAuthError("invalid_request", "The form lacks token, the access token to revoke.")
            }
            let (client, _) = try await authenticated(form, request, context, organization)
            guard let owner = try? await tokens.verify(token, for: organization.name) else { return Self.revoked }
            guard owner.client == client else {
                throw OAuthError("unauthorized_client", "The token was issued to another client, which alone can revoke it.")
            }
            try await tokens.exposed.revoke(
                token, of: client, in: organization, address: context.clientAddress, requestID: context.requestID)
            return Self.revoked
        }
    }

    private static var revoked: APIResponse { APIResponse(status: .ok, headers: [.cacheControl: "no-store"], body: []) }

    /// Refuses a browser that was redirected here. People sign in to the console, and programs request tokens directly.
    func authorize(_ request: Request, _ context: APIContext) async throws -> APIResponse {
        let address = try context.organizationAddress()
        return OAuthError(
            "unsupported_response_type",
            "Users are not asked for consent here. The only grant is client_credentials, at \(address.url)/oauth2/v2.0/token. "
                + "Use a confidential client."
        ).answer
    }

    /// Refuses a scope or a resource of another organization.
    private func checkAudience(_ form: OAuthForm, _ address: OrganizationAddress) throws {
        if let scope = try form["scope"] {
            let suffix = "/.default"
            // If the resource ends with a slash, the scope has two slashes before `.default`.
            guard scope.hasSuffix(suffix), isAudience(String(scope.dropLast(suffix.count)), address) else {
                throw OAuthError("invalid_scope", "The scope must be \(address.url)/.default.")
            }
        }
        if let resource = try form["resource"], !isAudience(resource, address) {
            // RFC 8707 section 2 defines this error code.
            throw OAuthError("invalid_target", "The resource must be \(address.url).")
        }
    }

    private func isAudience(_ url: String, _ address: OrganizationAddress) -> Bool {
        let base = tokens.addresses.baseURL
        return tokens.addresses.organization(of: url) == address.organization || url == base || url == "\(base)/"
    }

    /// Authenticates the client by the form, the request's Authorization header or the connection's certificate.
    ///
    /// - Returns: The client's id, and SHA-256 of the certificate to which its tokens are bound; nil for bearer tokens.
    /// - Throws: ``OAuthError``; 429 after too many failures.
    private func authenticated(_ form: OAuthForm, _ request: Request, _ context: APIContext, _ organization: Organization)
        async throws -> (client: UUID, boundTo: [UInt8]?)
    {
        var proof = try clientProof(form, request, organization.name)
        if case .secret("") = proof.proof, limits.clientCertificates != .off,
            let certificate = await PeerCertificate.digest(on: context.channel)
        {
            proof.proof = .certificate(certificate)
        }
        guard let client = UUID(text: proof.client),
            try await ClientRegistry(deployment).verify(
                proof.proof, clientID: client, of: organization, address: context.clientAddress ?? "", requestID: context.requestID)
        else { throw OAuthError.invalidClient }
        context.principal.name = "client:\(client.text)"
        guard case .certificate(let certificate) = proof.proof,
            try await ClientRegistry(deployment).bindsTokens(certificate, client: client, of: organization)
        else { return (client, nil) }
        return (client, certificate)
    }

    /// The client's authentication: a secret in the form or in the header (RFC 6749 section 2.3.1), or an assertion (RFC 7523). An
    /// empty secret counts as none, because the connection's certificate may authenticate the client.
    private func clientProof(_ form: OAuthForm, _ request: Request, _ organization: String) throws -> (
        client: String, proof: ClientProof
    ) {
        let header = Self.basicCredentials(request)
        let (secret, assertion) = (try form["client_secret"], try form["client_assertion"])
        guard [header != nil, secret != nil, assertion != nil].count(where: { $0 }) <= 1 else {
            throw OAuthError(
                "invalid_request",
                "The request authenticates the client in several ways. Use only one: Authorization, client_secret or "
                    + "client_assertion."
            )
        }
        let type = try form["client_assertion_type"]
        let id = try form["client_id"] ?? ""
        guard let assertion else {
            guard type == nil else {
                throw OAuthError("invalid_request", "The form has client_assertion_type without client_assertion. Send both.")
            }
            guard let header else { return (id, .secret(secret ?? "")) }
            guard id.isEmpty || id.lowercased() == header.0.lowercased() else {
                throw OAuthError("invalid_request", "The client_id of the form differs from the client id in Authorization.")
            }
            return (header.0, .secret(header.1))
        }
        guard type == ClientAssertion.type else {
            throw OAuthError("invalid_request", "The client_assertion_type must be \(ClientAssertion.type).")
        }
        let known = try ClientAssertion(assertion, for: organization, addresses: tokens.addresses)
        guard id.isEmpty || id.lowercased() == known.client else {
            throw OAuthError(
                "invalid_client", "The client_id is not the subject of the client_assertion.", status: .unauthorized)
        }
        return (known.client, .assertion(known))
    }

    /// HTTP Basic authentication with both parts form-encoded, as in RFC 6749 section 2.3.1.
    private static func basicCredentials(_ request: Request) -> (String, String)? {
        guard let header = request.headers[.authorization], header.lowercased().hasPrefix("basic "),
            let decoded = Data(base64Encoded: String(header.dropFirst(6))).map({ String(decoding: $0, as: UTF8.self) })
        else { return nil }
        let parts = decoded.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let id = String(parts[0]).removingPercentEncoding,
            let secret = String(parts[1]).removingPercentEncoding
        else { return nil }
        return (id, secret)
    }

    /// Runs `body`, and converts its errors to responses of OAuth.
    private func answer(_ body: () async throws -> APIResponse) async throws -> APIResponse {
        do {
            return try await body()
        } catch let error as OAuthError {
            return error.answer
        } catch let error as AssertionProblem {
            return OAuthError("invalid_client", "The client_assertion \(error.reason).", status: .unauthorized).answer
        }
    }
}
