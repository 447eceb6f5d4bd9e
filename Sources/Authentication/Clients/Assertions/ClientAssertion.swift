import Crypto
package import Foundation
import JSON
import Model

/// A JWT with which a client authenticates instead of a secret (RFC 7523 section 3). This type parses the JWT and checks its
/// claims. ``ClientRegistry`` checks its signature against the client's keys.
package struct ClientAssertion: Sendable {
    /// The `client_assertion_type` with which a client sends a JWT.
    package static let type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    /// The accepted signature algorithms.
    package static var algorithms: [String] { SignatureAlgorithm.allCases.map(\.rawValue) }

    /// The id of the client that the assertion names, in lower case.
    package let client: String
    /// The time at which the assertion expires, plus the tolerance for clocks.
    let expiresOn: Date
    /// The assertion's unique name: SHA-256 of its client and its `jti`.
    let replayKey: [UInt8]
    private let signed: [UInt8]
    private let signature: [UInt8]
    private let algorithm: SignatureAlgorithm

    private static let lengthLimit = 16_384
    /// How many seconds from now an assertion may expire at most.
    private static let longest = 3_600.0
    /// The tolerance for clocks in seconds.
    private static let clockSkew = 60.0

    /// Parses an assertion, and checks everything except its signature.
    ///
    /// - Throws: ``AssertionProblem``.
    package init(_ token: String, for organization: String, addresses: ServiceAddresses, now: Date = Date())
        throws(AssertionProblem)
    {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard token.utf8.count <= Self.lengthLimit, parts.count == 3, let header = Self.object(parts[0]),
            let claims = Self.object(parts[1]), let signature = Data(base64URL: parts[2]), !signature.isEmpty
        else { throw AssertionProblem("is malformed. It must be a signed JWT") }
        // The algorithm is checked before the signature, because a client must not be able to choose an algorithm that is not
        // accepted.
        guard let name = header["alg"]?.string, let algorithm = SignatureAlgorithm(rawValue: name) else {
            throw AssertionProblem(
                "is signed with an algorithm that is not accepted; use one of \(Self.algorithms.joined(separator: ", "))")
        }
        guard header["crit"] == nil else { throw AssertionProblem("has the header crit. This service supports no extensions") }
        guard let issuer = claims["iss"]?.string, claims["sub"]?.string == issuer else {
            throw AssertionProblem("must have the client's id as iss and as sub")
        }
        try Self.checkAudience(claims["aud"], organization, addresses)
        expiresOn = try Self.expiry(claims, now)
        guard let id = claims["jti"]?.string, !id.isEmpty else {
            throw AssertionProblem("lacks jti, a unique id of the assertion")
        }
        client = issuer.lowercased()
        replayKey = Array(SHA256.hash(data: Data("\(client) \(id)".utf8)))
        signed = Array("\(parts[0]).\(parts[1])".utf8)
        self.signature = Array(signature)
        self.algorithm = algorithm
    }

    /// Whether the private key that belongs to `key` signed the assertion.
    func isSigned(by key: ClientKey) -> Bool { key.verifies(signature, of: signed, by: algorithm) }

    private static func object(_ part: Substring) -> JSONValue? {
        guard let data = Data(base64URL: part), let value = try? JSONParser.parse(Array(data)), case .object = value else {
            return nil
        }
        return value
    }

    /// Rejects an assertion that is not for this organization. Also rejects an assertion with a second audience, because that
    /// audience could replay it here.
    private static func checkAudience(_ value: JSONValue?, _ organization: String, _ addresses: ServiceAddresses)
        throws(AssertionProblem)
    {
        let audience: String?
        switch value {
        case .string(let text)?: audience = text
        case .array(let values)?: audience = values.count == 1 ? values[0].string : nil
        default: audience = nil
        }
        let paths = [
            "/oauth2/v2.0/token", "/oauth2/token", "/oauth2/v2.0/revoke", "/oauth2/revoke", OrganizationAddress.issuerPath, "",
        ]
        guard let audience,
            paths.contains(where: { path in
                audience.strippingSuffix(path).map { addresses.organization(of: $0) == organization } ?? false
            })
        else {
            throw AssertionProblem(
                "is for another audience. Its aud must be only \(addresses.all(of: organization)[0])/oauth2/v2.0/token")
        }
    }

    private static func expiry(_ claims: JSONValue, _ now: Date) throws(AssertionProblem) -> Date {
        func moment(_ name: String) throws(AssertionProblem) -> Double? {
            switch claims[name] {
            case nil: return nil
            case .integer(let seconds)?: return Double(seconds)
            case .number(let text)?: if let seconds = Double(text), seconds.isFinite { return seconds }
            default: break
            }
            throw AssertionProblem("has \(name), which is not a number of seconds since 1970")
        }
        let now = now.timeIntervalSince1970
        guard let expiry = try moment("exp") else { throw AssertionProblem("lacks exp, the time at which it expires") }
        guard expiry > now - clockSkew else { throw AssertionProblem("is expired") }
        guard expiry <= now + longest + clockSkew else {
            throw AssertionProblem("expires more than \(Int(longest)) seconds from now")
        }
        for name in ["nbf", "iat"] {
            guard try moment(name).map({ $0 <= now + clockSkew }) ?? true else {
                throw AssertionProblem("is not valid yet, by its \(name)")
            }
        }
        return Date(timeIntervalSince1970: expiry + clockSkew)
    }
}
