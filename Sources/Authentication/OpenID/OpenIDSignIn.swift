import CellCrypto
import Crypto
package import Foundation
import JSON
import Model
package import Tenancy

/// Sign-in to the console through an OpenID provider: the authorization code flow (OpenID Connect Core 1.0 section 3.1) with PKCE
/// (RFC 7636). The server stores nothing between redirect and return. The state is in a cookie.
package struct OpenIDSignIn: Sendable {
    private let deployment: Deployment
    private let issuers: TrustedIssuers
    private let providers: OpenIDProviders
    private let sessions: ConsoleSessions

    package init(_ deployment: Deployment, providers: OpenIDProviders) {
        self.deployment = deployment
        self.providers = providers
        issuers = TrustedIssuers(deployment)
        sessions = ConsoleSessions(deployment)
    }

    /// Seconds within which a person must return from the provider.
    package static let patience = 600
    /// How many seconds after their authentication at the provider a person may be shown keys.
    private static let freshness = 120.0

    /// The issuers on the organization's sign-in page.
    package func offered(_ organization: Organization) async throws -> [TrustedIssuers.Entry] {
        try await issuers.list(organization).filter(\.isAuthentic)
    }

    /// One sign-in attempt, stored in a cookie. `state`, `nonce` and the code verifier are derived from the attempt, so they are
    /// valid only with the cookie, and only for this issuer and page.
    private struct Attempt {
        let token: String
        let issuer: UUID
        let time: Int
        let isFresh: Bool
        let then: String

        var cookie: String { "\(token).\(issuer.text).\(time).\(isFresh ? 1 : 0).\(then)" }

        init(token: String, issuer: UUID, time: Int, isFresh: Bool, then: String) {
            (self.token, self.issuer, self.time, self.isFresh, self.then) = (token, issuer, time, isFresh, then)
        }

        init?(_ cookie: String) {
            let parts = cookie.split(separator: ".", maxSplits: 4, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 5, let issuer = UUID(text: parts[1]), let time = Int(parts[2]) else { return nil }
            self.init(token: parts[0], issuer: issuer, time: time, isFresh: parts[3] == "1", then: parts[4])
        }
    }

    private func derived(_ label: String, _ attempt: Attempt, _ organization: Organization) throws -> String {
        Data(
            try deployment.kek.tag(
                label: "oidc \(label)", over: [Array(attempt.cookie.utf8), organization.id.bytes])
        ).base64URL
    }

    /// The address to which the browser is redirected, and the cookie that the browser gets.
    ///
    /// - Parameters:
    ///   - then: The page to open afterwards.
    ///   - isFresh: Whether the person must authenticate again at the provider, for example before a key is shown.
    /// - Throws: ``FieldsealError`` when the issuer is not trusted here, or is unreachable.
    package func begin(_ issuer: UUID, then: String, isFresh: Bool, redirectURI: String, to organization: Organization) async throws
        -> (
            url: String, cookie: String
        )
    {
        let entry = try await entry(issuer, of: organization)
        let metadata = try await providers.metadata(of: entry.issuer)
        let attempt = Attempt(
            token: Data(try randomBytes(count: 32)).base64URL, issuer: issuer, time: Int(Date().timeIntervalSince1970),
            isFresh: isFresh,
            then: then)
        let verifier = try derived("verifier", attempt, organization)
        let challenge = Data(SHA256.hash(data: Data(verifier.utf8))).base64URL
        var parameters = [
            ("response_type", "code"), ("client_id", entry.clientID), ("redirect_uri", redirectURI), ("scope", "openid"),
            ("state", try derived("state", attempt, organization)), ("nonce", try derived("nonce", attempt, organization)),
            ("code_challenge", challenge), ("code_challenge_method", "S256"),
        ]
        if isFresh { parameters += [("prompt", "login"), ("max_age", "60")] }
        let query = parameters.map { "\($0)=\($1.formEncoded)" }.joined(separator: "&")
        return (metadata.authorizationEndpoint + (metadata.authorizationEndpoint.contains("?") ? "&" : "?") + query, attempt.cookie)
    }

    /// Handles the provider's redirect back.
    ///
    /// - Returns: The session's token, and the page to open.
    /// - Throws: ``FieldsealError`` `.accessDenied` for an unrequested response, or a person who is not linked here.
    package func finish(
        _ answer: [String: String], cookie: String?, redirectURI: String, to organization: Organization, address: String,
        requestID: String
    ) async throws -> (token: String, then: String) {
        guard let attempt = cookie.flatMap(Attempt.init), Int(Date().timeIntervalSince1970) - attempt.time <= Self.patience,
            constantTimeEqual(Array((answer["state"] ?? "").utf8), Array(try derived("state", attempt, organization).utf8))
        else { throw FieldsealError(.accessDenied, "This sign-in has expired, or it began in another browser. Sign in again.") }
        let entry = try await entry(attempt.issuer, of: organization)
        // RFC 9207 section 2.4: `iss` must be the provider's issuer identifier. `iss` may be missing only if the provider's
        // description does not say that the provider sends it.
        let sendsIssuer = try await providers.metadata(of: entry.issuer).sendsIssuer ?? false
        guard answer["iss"] == entry.issuer || answer["iss"] == nil && !sendsIssuer, let code = answer["code"], !code.isEmpty else {
            throw FieldsealError(
                .accessDenied, "\(entry.name) did not sign you in\(answer["error"].map { ": \($0.quotedForMessage)" } ?? "").")
        }
        let idToken = try await providers.exchange(
            code, verifier: try derived("verifier", attempt, organization), redirectURI: redirectURI, clientID: entry.clientID,
            secret: try issuers.secret(of: entry), at: entry.issuer)
        let claims = try await providers.verify(idToken, issuer: entry.issuer, audiences: [entry.clientID])
        guard
            constantTimeEqual(Array((claims.nonce ?? "").utf8), Array(try derived("nonce", attempt, organization).utf8)),
            claims.aud.values.count == 1 || claims.azp == entry.clientID
        else { throw OpenIDProviders.refused("is for another sign-in") }
        guard let subject = claims[entry.claim] else { throw OpenIDProviders.refused("has no \(entry.claim)") }
        guard case .user(let user)? = try await issuers.link(of: subject, at: entry, in: organization.name) else {
            throw FieldsealError(
                .accessDenied,
                "\(entry.name) knows you as \(subject.quotedForMessage), and no person here is linked to that name. An administrator can link it: "
                    + "fieldseal issuer link.")
        }
        let isFresh = claims.authTime.map { Date().timeIntervalSince1970 - $0 <= Self.freshness } ?? false
        if attempt.isFresh, !isFresh { throw OpenIDProviders.refused("does not say that you signed in just now") }
        let token = try await sessions.signIn(
            user, through: entry.name, isFresh: isFresh, to: organization, address: address, requestID: requestID)
        return (token, attempt.then)
    }

    private func entry(_ id: UUID, of organization: Organization) async throws -> TrustedIssuers.Entry {
        guard let entry = try await issuers.list(organization).first(where: { $0.id == id && $0.isAuthentic }) else {
            throw FieldsealError(.noResource, "This issuer is not trusted here.")
        }
        return entry
    }
}
