import Crypto
import CurlClient
import Foundation
import JSON
import JWTKit
import Model
import Synchronization
import Tenancy

/// A cache of OpenID providers' descriptions (OpenID Connect Discovery 1.0) and signing keys.
package final class OpenIDProviders: Sendable {
    private let authorityFile: String?
    private let known = Mutex<[String: Known]>([:])
    private let fetches = SingleFlight<String, Provider>(waiterLimit: OpenIDProviders.waiterLimit)
    private let exchanges = AdmissionGate<String>(.init(running: 8, runningPerKey: 4))

    /// - Parameter authorityFile: A file with CA certificates in PEM, which must have issued the providers' certificates; nil for
    ///   the system's CAs.
    package init(authorityFile: String? = nil) { self.authorityFile = authorityFile }

    /// Seconds for which a provider's description and keys are reused.
    private static let lifetime = 3_600.0
    /// The minimum number of seconds between two fetches for an unknown key.
    private static let keyInterval = 30.0
    /// How many requests may wait for one provider's response.
    private static let waiterLimit = 50
    /// Seconds for which the first failure is remembered. The time doubles with each further failure, up to ``longestBackoff``.
    private static let firstBackoff = 2.0
    private static let longestBackoff = 60.0

    /// The cached data of a provider.
    private struct Known {
        var provider: Provider?
        /// Failures since the provider's last response.
        var failures = 0
        var failedUntil = Date.distantPast
    }

    struct Metadata: Decodable {
        let issuer: String
        let authorizationEndpoint: String
        let tokenEndpoint: String
        let jwksURI: String
        let tokenEndpointAuthMethods: [String]?
        let sendsIssuer: Bool?

        enum CodingKeys: String, CodingKey {
            case issuer
            case authorizationEndpoint = "authorization_endpoint"
            case tokenEndpoint = "token_endpoint"
            case jwksURI = "jwks_uri"
            case tokenEndpointAuthMethods = "token_endpoint_auth_methods_supported"
            case sendsIssuer = "authorization_response_iss_parameter_supported"
        }
    }

    private struct Provider {
        let metadata: Metadata
        let keys: [JWK]
        let readOn: Date
    }

    private struct KeySet: Decodable {
        let keys: [Lenient]

        /// A key of the provider; nil for a key of an unknown kind, which is ignored.
        struct Lenient: Decodable {
            let key: JWK?
            init(from decoder: any Decoder) throws { key = try? JWK(from: decoder) }
        }
    }

    func metadata(of issuer: String) async throws -> Metadata { try await provider(issuer, maximumAge: Self.lifetime).metadata }

    /// A provider's data, at most `maximumAge` seconds old. For each provider one fetch runs at a time, and none for a while after
    /// a failure. So an unreachable provider delays only a few requests; the other requests fail at once.
    private func provider(_ issuer: String, maximumAge: Double) async throws -> Provider {
        let known = known.withLock { $0[issuer] }
        if let provider = known?.provider, Date().timeIntervalSince(provider.readOn) < maximumAge { return provider }
        if let wait = known?.failedUntil.timeIntervalSinceNow, wait > 0 {
            throw Self.away("did not answer a moment ago", seconds: Int(wait.rounded(.up)))
        }
        guard let provider = try await fetches.value(of: issuer, { try await self.fetch(issuer) }) else {
            throw Self.away("has not answered yet, and many requests wait for it", seconds: 2)
        }
        return provider
    }

    private func fetch(_ issuer: String) async throws -> Provider {
        do {
            let base = issuer.hasSuffix("/") ? String(issuer.dropLast()) : issuer
            let metadata = try await get("\(base)/.well-known/openid-configuration", as: Metadata.self)
            // OpenID Connect Discovery section 4.3 requires this check. Without it, one provider could impersonate another
            // provider.
            guard metadata.issuer == issuer else {
                throw Self.unusable(
                    "says that its issuer is \(metadata.issuer.quotedForMessage), which is not the issuer that was added here")
            }
            let keys = try await get(metadata.jwksURI, as: KeySet.self).keys.compactMap(\.key)
            let provider = Provider(metadata: metadata, keys: keys, readOn: Date())
            known.withLock { $0[issuer] = Known(provider: provider) }
            return provider
        } catch {
            known.withLock { known in
                let failures = (known[issuer]?.failures ?? 0) + 1
                let seconds = min(Self.longestBackoff, Self.firstBackoff * Double(1 << min(failures - 1, 8)))
                known[issuer, default: Known()].failures = failures
                known[issuer]?.failedUntil = Date().addingTimeInterval(seconds)
            }
            throw error
        }
    }

    private func get<Value: Decodable>(_ url: String, as type: Value.Type) async throws -> Value {
        var request = HTTPSRequest(url)
        request.headers = ["Accept: application/json"]
        let answer = try await send(request)
        guard answer.status == 200, let value = try? JSONDecoder().decode(type, from: Data(answer.body)) else {
            throw Self.unusable("gave an unexpected response with the status \(answer.status) at \(url)")
        }
        return value
    }

    private func send(_ request: HTTPSRequest) async throws -> HTTPSRequest.Answer {
        var request = request
        request.authorityFile = authorityFile
        do {
            return try await request.send()
        } catch let error as CurlError {
            throw Self.away("can't be reached: \(error)", seconds: Int(Self.firstBackoff))
        }
    }

    private static func away(_ why: String, seconds: Int) -> FieldsealError {
        FieldsealError(
            .unexpected,
            "The OpenID provider \(why). Try again in \(seconds) seconds; if that does not help, ask an administrator to check the "
                + "provider.",
            retryAfter: seconds)
    }

    private static func unusable(_ why: String) -> FieldsealError {
        FieldsealError(
            .unexpected, "The OpenID provider \(why). Try again; if that does not help, ask an administrator to check the provider."
        )
    }

    /// The contents of a verified token.
    struct Claims: JWTPayload {
        let iss: String
        let aud: Audience
        let exp: ExpirationClaim
        let nbf: NotBeforeClaim?
        let sub: String?
        let oid: String?
        let appid: String?
        let azp: String?
        let clientID: String?
        let nonce: String?
        let authTime: Double?
        let cnf: TokenConfirmation?

        enum CodingKeys: String, CodingKey {
            case iss, aud, exp, nbf, sub, oid, appid, azp, nonce, cnf
            case clientID = "client_id"
            case authTime = "auth_time"
        }

        func verify(using algorithm: some JWTAlgorithm) throws {
            try exp.verifyNotExpired(currentDate: Date().addingTimeInterval(-clockSkew))
            try nbf?.verifyNotBefore(currentDate: Date().addingTimeInterval(clockSkew))
        }

        /// One audience or several (RFC 7519 section 4.1.3). This type is used because the JWT library's own type ends the program
        /// if the claim is missing.
        struct Audience: Codable {
            let values: [String]

            init(from decoder: any Decoder) throws {
                let container = try decoder.singleValueContainer()
                values = try (try? [container.decode(String.self)]) ?? container.decode([String].self)
            }

            func encode(to encoder: any Encoder) throws {
                var container = encoder.singleValueContainer()
                try container.encode(values)
            }
        }

        subscript(claim: String) -> String? {
            switch claim {
            case "sub": sub
            case "oid": oid
            case "appid": appid
            case "azp": azp
            case "client_id": clientID
            default: nil
            }
        }
    }

    private struct Header: Decodable {
        let alg: String
        let kid: String?
    }

    /// The accepted algorithms, with the type of key that each requires. So a token can't use a public key as an HMAC secret.
    private static let algorithms = [
        "RS256": "RSA", "RS384": "RSA", "RS512": "RSA", "PS256": "RSA", "PS384": "RSA", "PS512": "RSA", "ES256": "EC",
        "ES384": "EC",
        "ES512": "EC", "EdDSA": "OKP",
    ]

    /// Verifies a token's signature, issuer, audience and times.
    ///
    /// - Parameter audiences: The audiences of which the token must have at least one.
    /// - Throws: ``FieldsealError`` `.accessDenied`.
    func verify(_ token: String, issuer: String, audiences: [String]) async throws -> Claims {
        guard token.utf8.count <= 16_384, let part = token.split(separator: ".", omittingEmptySubsequences: false).first,
            let data = Data(base64URL: part), let header = try? JSONDecoder().decode(Header.self, from: data)
        else { throw Self.refused("is malformed") }
        // The library would prefer the algorithm in the header to the key's own.
        guard let keyType = Self.algorithms[header.alg] else {
            throw Self.refused("is signed with an algorithm that is not accepted")
        }
        var candidates = try await keys(issuer, header, keyType, maximumAge: Self.lifetime)
        if candidates.isEmpty { candidates = try await keys(issuer, header, keyType, maximumAge: Self.keyInterval) }
        for key in candidates {
            guard let collection = try? await JWTKeyCollection().add(jwk: Self.named(key), isDefault: true),
                let claims = try? await collection.verify(token, as: Claims.self)
            else { continue }
            guard claims.iss == issuer, claims.aud.values.contains(where: audiences.contains) else {
                throw Self.refused("is for another audience")
            }
            return claims
        }
        throw Self.refused("is expired, or not signed by its issuer")
    }

    private func keys(_ issuer: String, _ header: Header, _ type: String, maximumAge: Double) async throws -> [JWK] {
        try await provider(issuer, maximumAge: maximumAge).keys.filter { key in
            key.keyType.rawValue == type && (key.algorithm.map { $0.rawValue == header.alg } ?? true)
                && (header.kid == nil || key.keyIdentifier?.string == header.kid)
        }
    }

    /// The key with a name, because the library needs a name for each key.
    private static func named(_ key: JWK) -> JWK {
        var key = key
        key.keyIdentifier = key.keyIdentifier ?? JWKIdentifier(string: "only")
        return key
    }

    static func refused(_ why: String) -> FieldsealError { FieldsealError(.accessDenied, "The provider's token \(why).") }

    /// The issuer that a token claims, unverified.
    static func claimedIssuer(of token: String) -> String? {
        struct Issuer: Decodable { let iss: String }
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard token.utf8.count <= 16_384, parts.count == 3, let data = Data(base64URL: parts[1]) else { return nil }
        return try? JSONDecoder().decode(Issuer.self, from: data).iss
    }

    private struct TokenAnswer: Decodable {
        let idToken: String
        enum CodingKeys: String, CodingKey { case idToken = "id_token" }
    }

    /// Exchanges an authorization code for an ID token (RFC 6749 section 4.1.3, RFC 7636 section 4.5).
    func exchange(_ code: String, verifier: String, redirectURI: String, clientID: String, secret: String?, at issuer: String)
        async throws -> String
    {
        let metadata = try await metadata(of: issuer)
        var request = HTTPSRequest(metadata.tokenEndpoint)
        request.method = "POST"
        request.headers = ["Content-Type: application/x-www-form-urlencoded", "Accept: application/json"]
        var form = [
            ("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirectURI), ("code_verifier", verifier),
            ("client_id", clientID),
        ]
        if let secret {
            if metadata.tokenEndpointAuthMethods?.contains("client_secret_basic") ?? true {
                let pair = "\(clientID.formEncoded):\(secret.formEncoded)"
                request.headers.append("Authorization: Basic \(Data(pair.utf8).base64EncodedString())")
            } else {
                form.append(("client_secret", secret))
            }
        }
        request.body = Array(form.map { "\($0)=\($1.formEncoded)" }.joined(separator: "&").utf8)
        let ready = request
        let answer: HTTPSRequest.Answer
        do {
            answer = try await exchanges.run(issuer) { try await send(ready) }
        } catch is AdmissionGate<String>.Full {
            throw Self.away("already has as many requests of sign-ins as this server sends it at a time", seconds: 2)
        }
        guard answer.status == 200, let token = try? JSONDecoder().decode(TokenAnswer.self, from: Data(answer.body)) else {
            throw Self.refused("was not given (status \(answer.status))")
        }
        return token.idToken
    }
}

/// The tolerance for clocks in seconds.
private let clockSkew = 60.0
