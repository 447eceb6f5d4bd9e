import Fieldseal
import Foundation
import HTTPTypes
import Hummingbird

// The token endpoint (RFC 6749 section 4.4) and what clients find it by (OpenID Connect Discovery 1.0).
extension WebAPI {
    func token(_ request: Request, _ context: APIContext) async throws -> APIAnswer {
        let name = try context.parameters.require("organization")
        let organization = try await Session.organization(named: name, in: deployment)
        let form = try Self.form(try await body(request))
        guard form["grant_type"] == "client_credentials" else {
            return Self.oauthError("unsupported_grant_type", "The only grant is client_credentials.")
        }
        let scopes = ["\(tokens.baseURL)/.default", "\(tokens.baseURL)/\(name)/.default"]
        if let scope = form["scope"], !scopes.contains(scope) {
            return Self.oauthError("invalid_scope", "The scope is \(scopes[1]).")
        }
        let (id, secret) = Self.basicCredentials(request) ?? (form["client_id"] ?? "", form["client_secret"] ?? "")
        let isRight: Bool
        do {
            guard let client = UUID(text: id) else { return Self.invalidClient }
            isRight = try await ClientRegistry(deployment)
                .verify(
                    clientID: client, secret: secret, of: organization, address: context.clientAddress ?? "",
                    requestID: context.requestID)
            guard isRight else { return Self.invalidClient }
            context.principal.name = "client:\(client.text)"
            let token = try await tokens.issue(to: client, in: organization)
            return APIAnswer.json(
                ["access_token": .string(token), "token_type": "Bearer", "expires_in": .integer(Int64(TokenIssuer.lifetime))],
                headers: [.cacheControl: "no-store"])
        }
    }

    func openIDConfiguration(_ request: Request, _ context: APIContext) async throws -> APIAnswer {
        let name = try context.parameters.require("organization")
        _ = try await Session.organization(named: name, in: deployment)
        return APIAnswer.json([
            "issuer": .string(tokens.issuer(name)),
            "token_endpoint": .string("\(tokens.baseURL)/\(name)/oauth2/v2.0/token"),
            "jwks_uri": .string("\(tokens.baseURL)/\(name)/discovery/v2.0/keys"),
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "id_token_signing_alg_values_supported": ["ES256"],
        ])
    }

    func keySet(_ request: Request, _ context: APIContext) async throws -> APIAnswer {
        _ = try await Session.organization(named: try context.parameters.require("organization"), in: deployment)
        return APIAnswer.json(try await tokens.keySet())
    }

    private static func form(_ bytes: [UInt8]) throws -> [String: String] {
        var form: [String: String] = [:]
        for (name, value) in try ODataQuery.options(String(decoding: bytes, as: UTF8.self)) { form[name] = value }
        return form
    }

    /// HTTP Basic authentication, as RFC 6749 section 2.3.1 has clients use it: both parts are form-encoded.
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

    private static var invalidClient: APIAnswer {
        oauthError("invalid_client", "The client is unknown or disabled, or its secret is wrong.", status: .unauthorized)
    }

    private static func oauthError(_ error: String, _ description: String, status: HTTPResponse.Status = .badRequest) -> APIAnswer {
        var headers: HTTPFields = [.cacheControl: "no-store"]
        if status == .unauthorized { headers[.wwwAuthenticate] = "Basic realm=\"token\"" }
        return APIAnswer.json(
            ["error": .string(error), "error_description": .string(description)], status: status, headers: headers)
    }
}
