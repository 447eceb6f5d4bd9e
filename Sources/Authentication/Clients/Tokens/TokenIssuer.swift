package import CellCrypto
import Crypto
package import Foundation
package import JSON
import JWTKit
import Model
package import PostgresClient
import Synchronization
package import Tenancy

/// Issues and verifies access tokens: JWTs (RFC 7519) signed with ES256 (RFC 7518 section 3.4).
///
/// All servers of a deployment share the signing keys in `config.signing_key`, sealed under the key-encryption key. A signing key
/// is replaced after 30 days. A token only identifies the client: the client's rights are read from the database at each request.
package final class TokenIssuer: Sendable {
    /// Seconds that a token is valid.
    package static let lifetime = 3_600
    /// Seconds after which a signing key is replaced.
    static let rotation = 30 * 86_400

    private let deployment: Deployment
    /// The addresses under which clients reach this service.
    package let addresses: ServiceAddresses
    private let keys = Mutex<Keys>(Keys())
    /// Verified tokens by their SHA-256, so that each is verified once.
    private let verified = Mutex<[SHA256Digest: Verified]>([:])

    private struct Verified {
        let token: VerifiedToken
        let organization: String
        let kid: String
        let expiresOn: Date
    }

    /// The maximum number of verified tokens in the cache. When the cache is full, all of them are removed.
    private static let verifiedLimit = 10_000

    private struct Keys {
        var collection = JWTKeyCollection()
        var publicKeys: [String: P256.Signing.PublicKey] = [:]
        var current: String?
        var readOn: ContinuousClock.Instant?
    }

    private let providers: OpenIDProviders
    private let trusted: RecentIssuers
    /// Tokens that were revoked or sent without encryption.
    package let exposed: ExposedTokens

    /// - Parameter providers: The providers whose tokens are accepted in organizations that trust them.
    package init(_ deployment: Deployment, addresses: ServiceAddresses, providers: OpenIDProviders) {
        trusted = RecentIssuers(deployment)
        exposed = ExposedTokens(deployment)
        self.deployment = deployment
        self.addresses = addresses
        self.providers = providers
    }

    /// Issues a token to an authenticated client.
    ///
    /// - Parameters:
    ///   - address: The address of the request. The token's issuer and audience are made from this address.
    ///   - certificate: SHA-256 of the certificate that the token is bound to; nil for a bearer token.
    package func issue(
        to client: UUID, in organization: Organization, at address: OrganizationAddress, version: TokenVersion,
        boundTo certificate: [UInt8]? = nil
    ) async throws -> String {
        try await refresh(unlessYoungerThan: .seconds(60))
        let (collection, current) = keys.withLock { ($0.collection, $0.current) }
        guard let current else { throw FieldsealError(.unexpected, "There is no token-signing key.") }
        // The times in the token are whole seconds, because many libraries do not accept fractions.
        let now = Date(timeIntervalSince1970: Date().timeIntervalSince1970.rounded(.down))
        let claims = Claims(
            iss: address.issuer, aud: address.url, sub: client.text, appid: client.text,
            tid: organization.id.text, jti: UUID().text, iat: .init(value: now), nbf: .init(value: now),
            exp: .init(value: now.addingTimeInterval(Double(Self.lifetime))), ver: version.rawValue,
            cnf: certificate.map { TokenConfirmation(certificate: Data($0).base64URL) })
        return try await collection.sign(claims, kid: JWKIdentifier(string: current))
    }

    /// The contents of a token that was verified before; nil for any other token.
    ///
    /// - Throws: ``FieldsealError`` `.accessDenied` for a token that was revoked or sent without encryption.
    package func known(_ token: String, for organization: String) async throws -> VerifiedToken? {
        if let reason = try await exposed.reason(token) { throw Self.refusal(reason) }
        var token = token
        let digest = token.withUTF8 { SHA256.hash(data: $0) }
        guard let known = verified.withLock({ $0[digest] }), known.organization == organization, known.expiresOn > Date(),
            keys.withLock({ $0.publicKeys[known.kid] != nil })
        else { return nil }
        return known.token
    }

    private static func refusal(_ reason: ExposedTokens.Reason) -> FieldsealError {
        switch reason {
        case .exposed: refused("was sent over a connection without encryption, and is not accepted any more")
        case .revoked: refused("was revoked")
        }
    }

    /// Verifies a token for one organization.
    ///
    /// - Throws: ``FieldsealError`` `.accessDenied` for a token that is malformed, forged, expired, or for another organization.
    package func verify(_ token: String, for organization: String) async throws -> VerifiedToken {
        let digest = SHA256.hash(data: Data(token.utf8))
        if let reason = try await exposed.reason(token) { throw Self.refusal(reason) }
        if let other = OpenIDProviders.claimedIssuer(of: token), self.organization(ofIssuer: other) == nil {
            return try await client(of: token, from: other, for: organization)
        }
        let header = try Self.header(of: token)
        // The library would use any algorithm that the header names. Only ES256 is accepted here.
        guard header.alg == "ES256" else { throw Self.refused("is not signed with ES256") }
        if keys.withLock({ $0.publicKeys[header.kid] == nil }) { try await refresh(unlessYoungerThan: .seconds(5)) }
        guard keys.withLock({ $0.publicKeys[header.kid] != nil }) else { throw Self.refused("is signed with an unknown key") }
        let claims: Claims
        do {
            claims = try await keys.withLock(\.collection).verify(token, as: Claims.self)
        } catch {
            throw Self.refused("is expired or not valid")
        }
        guard self.organization(ofIssuer: claims.iss) == organization, addresses.organization(of: claims.aud) == organization,
            let client = UUID(text: claims.appid)
        else { throw Self.refused("is for another organization") }
        let result = VerifiedToken(client: client, signedInOn: claims.iat.value, certificate: try Self.certificate(claims.cnf))
        verified.withLock { tokens in
            if tokens.count >= Self.verifiedLimit { tokens.removeAll() }
            tokens[digest] = Verified(token: result, organization: organization, kid: header.kid, expiresOn: claims.exp.value)
        }
        return result
    }

    /// The organization that a token claims to be for, unverified; nil for a provider's token.
    package func claimedOrganization(of token: String) -> String? {
        OpenIDProviders.claimedIssuer(of: token).flatMap(organization(ofIssuer:))
    }

    /// The organization that issues tokens as `issuer`; each of its addresses (host or path) is an issuer. Nil for the issuer of a
    /// provider's tokens.
    private func organization(ofIssuer issuer: String) -> String? {
        issuer.strippingSuffix(OrganizationAddress.issuerPath).flatMap { addresses.organization(of: $0) }
    }

    /// Verifies a token of a trusted provider.
    private func client(of token: String, from issuer: String, for name: String) async throws -> VerifiedToken {
        let issuers = TrustedIssuers(deployment)
        guard try await trusted.mayTrust(issuer, in: name) else {
            throw Self.refused("is from an issuer that is not trusted here")
        }
        guard let entry = try await issuers.list(named: name).first(where: { $0.issuer == issuer && $0.isAuthentic }) else {
            throw Self.refused("is from an issuer that is not trusted here")
        }
        let claims = try await providers.verify(
            token, issuer: issuer, audiences: addresses.all(of: name).flatMap { [$0, "\($0)/"] })
        guard let subject = claims[entry.claim],
            case .client(let client)? = try await issuers.link(of: subject, at: entry, in: name)
        else {
            throw Self.refused("is for a subject that is linked to no client here")
        }
        return VerifiedToken(
            client: client, signedInOn: claims.authTime.map { Date(timeIntervalSince1970: $0) },
            certificate: try Self.certificate(claims.cnf))
    }

    /// The public keys as a JWK Set (RFC 7517 section 5).
    package func keySet() async throws -> JSONValue {
        try await refresh(unlessYoungerThan: .seconds(60))
        let publicKeys = keys.withLock(\.publicKeys)
        return [
            "keys": .array(
                publicKeys.sorted { $0.key < $1.key }.map { kid, key in
                    let point = key.rawRepresentation
                    return [
                        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": .string(kid),
                        "x": .string(point.prefix(32).base64URL), "y": .string(point.suffix(32).base64URL),
                    ]
                })
        ]
    }

    /// Reads the signing keys and the exposed tokens. Makes a new signing key if there is none, or if the newest signing key is too
    /// old.
    ///
    /// - Throws: ``WrongKeyEncryptionKey`` if the signing keys were sealed under another key-encryption key.
    package func prepare() async throws {
        try await refresh(unlessYoungerThan: .zero)
        try await exposed.read()
    }

    /// Checks that this server has the key-encryption keys of the signing keys in force. Does not open the signing keys.
    ///
    /// - Throws: ``WrongKeyEncryptionKey``.
    package func checkKeyEncryptionKey(on connection: isolated PostgresConnection) throws {
        let others = try connection.query(
            "SELECT kek_id FROM config.signing_key WHERE retired_on IS NULL AND kek_id <> ALL ($1) LIMIT 1",
            [.texts(deployment.kek.ids)])
        guard let other: String = try others.first?.decode(0) else { return }
        if try KeyEncryptionKeyEvidence.keyInForce(deployment.kek, besides: other, on: connection) == nil {
            throw WrongKeyEncryptionKey(given: deployment.kek.id, wanted: other)
        }
    }

    private func refresh(unlessYoungerThan age: Duration) async throws {
        let now = ContinuousClock.now
        if let readOn = keys.withLock(\.readOn), now - readOn < age { return }
        let rows = try await rows()
        guard let current = rows.first(where: \.isCurrent), (try? current.open(under: deployment.kek)) == nil else {
            return try await read(rows, at: now)
        }
        // The key in force does not open, so SQL wrote it or this program has the wrong key-encryption key. In the first case a new
        // signing key replaces it.
        try await replace(current)
        try await read(self.rows(), at: now)
    }

    /// Reads the rows of the signing keys. Makes a new signing key if there is none, or if the newest signing key is too old.
    private func rows() async throws -> [SigningKeyRow] {
        try await deployment.pool.withConnection { connection in
            try connection.transaction {
                let rows = try SigningKeyRow.all(on: connection)
                if let current = rows.first(where: \.isCurrent), !current.isDue { return rows }
                // One server makes the new key. The other servers wait, and then read the key.
                try connection.execute("LOCK TABLE config.signing_key IN SHARE ROW EXCLUSIVE MODE")
                let again = try SigningKeyRow.all(on: connection)
                if let current = again.first(where: \.isCurrent), !current.isDue { return again }
                // The new signing key is sealed under the same key-encryption key as the signing key that it replaces.
                let kek = again.first(where: \.isCurrent).flatMap { deployment.kek.member($0.kekID) } ?? deployment.kek
                try Self.addKey(under: kek, on: connection)
                return try SigningKeyRow.all(on: connection)
            }
        }
    }

    /// Replaces the signing key in force, which does not open.
    ///
    /// - Throws: ``WrongKeyEncryptionKey`` if the row names another key-encryption key, and nothing shows that SQL wrote it.
    private func replace(_ current: SigningKeyRow) async throws {
        try await deployment.pool.withConnection { connection in
            try connection.transaction {
                if deployment.kek.member(current.kekID) == nil {
                    try checkKeyEncryptionKey(on: connection)
                }
                try connection.execute("LOCK TABLE config.signing_key IN SHARE ROW EXCLUSIVE MODE")
                // Another server may have replaced the key meanwhile.
                let again = try SigningKeyRow.all(on: connection).first(where: \.isCurrent)
                guard again?.id == current.id else { return }
                try Self.addKey(under: deployment.kek, on: connection)
            }
        }
    }

    private func read(_ rows: [SigningKeyRow], at now: ContinuousClock.Instant) async throws {
        var fresh = Keys()
        fresh.readOn = now
        for row in rows {
            let key: P256.Signing.PrivateKey
            do {
                key = try row.open(under: deployment.kek)
            } catch  where !row.isCurrent {
                // Skips a key that does not open, so its tokens are refused. SQL can write such a row, and that must not stop the
                // service.
                continue
            }
            let kid = row.id.text
            await fresh.collection.add(ecdsa: try ES256PrivateKey(backing: key), kid: JWKIdentifier(string: kid))
            fresh.publicKeys[kid] = key.publicKey
            if row.isCurrent { fresh.current = kid }
        }
        let read = fresh
        keys.withLock { $0 = read }
    }

    /// Makes a new signing key, and retires the signing key in force.
    package static func addKey(under kek: KeyEncryptionKey, on connection: isolated PostgresConnection) throws {
        let id = UUID()
        let key = P256.Signing.PrivateKey()
        let secret = key.rawRepresentation.withUnsafeBytes { SecretBytes(copying: $0) }
        _ = try connection.query("UPDATE config.signing_key SET retired_on = now() WHERE retired_on IS NULL")
        _ = try connection.query(
            "INSERT INTO config.signing_key (signing_key_id, public_key, private_key, kek_id) VALUES ($1, $2, $3, $4)",
            [
                .uuid(id), .bytes(Array(key.publicKey.x963Representation)),
                .bytes(try kek.seal(secret, at: .signingKey(id)).bytes), .text(kek.id),
            ])
    }

    private struct Header: Decodable {
        let alg: String
        let kid: String
    }

    private static func header(of token: String) throws -> Header {
        guard token.utf8.count <= 4_096, let part = token.split(separator: ".", omittingEmptySubsequences: false).first,
            let data = Data(base64URL: part), let header = try? JSONDecoder().decode(Header.self, from: data)
        else { throw refused("is malformed") }
        return header
    }

    /// The certificate that a token is bound to; nil for a bearer token. A token with another kind of binding is invalid.
    private static func certificate(_ confirmation: TokenConfirmation?) throws -> [UInt8]? {
        guard let confirmation else { return nil }
        guard let digest = confirmation.certificate.flatMap({ Data(base64URL: $0) }), digest.count == SHA256.byteCount else {
            throw refused("is bound in a way that is not supported")
        }
        return Array(digest)
    }

    private static func refused(_ why: String) -> FieldsealError {
        FieldsealError(.accessDenied, "The access token \(why). Ask the token endpoint for a new one.")
    }
}

/// The claims of an access token.
private struct Claims: JWTPayload {
    let iss: String
    let aud: String
    let sub: String
    /// The client's id.
    let appid: String
    /// The organization's id.
    let tid: String
    let jti: String
    let iat: IssuedAtClaim
    let nbf: NotBeforeClaim
    let exp: ExpirationClaim
    let ver: String
    /// The binding of the token (RFC 8705 section 3.1).
    let cnf: TokenConfirmation?

    func verify(using algorithm: some JWTAlgorithm) throws {
        try exp.verifyNotExpired()
        try nbf.verifyNotBefore()
    }
}
