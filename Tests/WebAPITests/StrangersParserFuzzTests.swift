import Authentication
import Foundation
import Tenancy
import TestSupport
import Testing

@testable import WebAPI

/// Gives mutated texts to every parser for callers without an account: the header of the PROXY protocol, `X-Forwarded-For`, the
/// form of the token endpoint, and assertions. Each text is read or refused: no crash, no hang, and no value that the text does not
/// contain.
@Suite("Parsers of texts from callers without an account, with mutated texts")
struct StrangersParserFuzzTests {
    private static let environment = ProcessInfo.processInfo.environment
    private static let cases = environment["FIELDSEAL_FUZZ_CASES"].flatMap(Int.init) ?? 20_000
    private static let seed = environment["FIELDSEAL_FUZZ_SEED"].flatMap(UInt64.init) ?? 20_261_127
    private static let patience = Duration.seconds(2)

    /// Converts bytes to a text with one character for each byte, which the mutator can change.
    private static func text(_ bytes: [UInt8]) -> String { String(String.UnicodeScalarView(bytes.map { Unicode.Scalar($0) })) }

    /// Converts such a text back to bytes. A character above U+00FF becomes its UTF-8 bytes.
    private static func bytes(_ text: String) -> [UInt8] {
        text.unicodeScalars.flatMap { $0.value < 0x100 ? [UInt8($0.value)] : Array(String($0).utf8) }
    }

    /// Gives mutated seeds to a closure, which returns whether the text was read.
    private static func fuzz(_ seeds: [String], _ read: (String) throws -> Bool) throws {
        #expect(seeds.count >= 4)
        for text in seeds { #expect(try read(text), "a seed is refused: \(text.debugDescription)") }
        var mutator = Mutator(seed: seed)
        var refused = 0
        for number in 0..<cases {
            let mutated = mutator.mutate(seeds[number % seeds.count], seeds[mutator.below(seeds.count)])
            let began = ContinuousClock.now
            if try !read(mutated) { refused += 1 }
            #expect(
                ContinuousClock.now - began < patience,
                "case \(number) of seed \(seed) takes too long: \(mutated.prefix(200).debugDescription)")
        }
        #expect(refused > cases / 10 && refused < cases)
    }

    @Test("A mutated header of the PROXY protocol is read or refused")
    func proxyHeaders() throws {
        let signature: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]
        let four: [UInt8] = [192, 0, 2, 1, 198, 51, 100, 1, 0xC0, 0x01, 0x01, 0xBB]
        let six = [UInt8](repeating: 0x20, count: 32) + [0xC0, 0x01, 0x01, 0xBB]
        let seeds = [
            "PROXY TCP4 192.0.2.1 198.51.100.1 49153 443\r\n", "PROXY TCP6 2001:db8::1 2001:db8::2 49153 443\r\n",
            "PROXY UNKNOWN\r\n", Self.text(signature + [0x21, 0x11, 0, 12] + four),
            Self.text(signature + [0x21, 0x21, 0, 36] + six),
            Self.text(signature + [0x20, 0x00, 0, 0]), Self.text(signature + [0x21, 0x11, 0, 19] + four + [4, 0, 4, 1, 2, 3, 4]),
        ]
        try Self.fuzz(seeds) { text in
            let bytes = Self.bytes(text)
            switch ProxyHeader.parse(bytes) {
            case .malformed: return false
            case .incomplete:
                // A header of this length must be complete or refused, because a connection could otherwise wait forever.
                #expect(bytes.count < 2_048)
                return false
            case .complete(_, let length):
                #expect(length > 0 && length <= bytes.count)
                let header = Array(bytes.prefix(length))
                #expect(ProxyHeader.parse(header) == ProxyHeader.parse(bytes))
                // Bytes may arrive one by one. So an incomplete header must be neither refused nor read as a complete one.
                for count in [1, length / 2, length - 1] where count > 0 && count < length {
                    #expect(ProxyHeader.parse(header.prefix(count)) == .incomplete)
                }
                return true
            }
        }
    }

    @Test("A mutated X-Forwarded-For gives no address that the text does not contain")
    func forwardedAddresses() throws {
        var limits = APILimits()
        limits.trustedProxies = ["10.0.0.0/8", "2001:db8:1::/48"].compactMap { IPNetwork($0) }
        let listeners = Listeners(limits)
        let proxy = try #require(IPAddress("10.0.0.1"))
        let stranger = try #require(IPAddress("203.0.113.9"))
        let seeds = [
            "192.0.2.1", "192.0.2.1, 10.0.0.2", "[2001:db8::1]:4711, 10.0.0.2:80", "evil, 2001:db8::7, 2001:db8:1::2, 10.1.2.3",
            "::ffff:192.0.2.1", "192.0.2.1\n10.0.0.3",
        ]
        try Self.fuzz(seeds) { text in
            let fields = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
            // Addresses that a peer without trust wrote are ignored.
            #expect(listeners.client(behind: stranger, fields) == stranger)
            let client = listeners.client(behind: proxy, fields)
            guard let client, client != proxy else { return false }
            #expect(IPAddress(client.description) == client)
            return true
        }
    }

    @Test("A mutated form of the token endpoint is read or refused")
    func forms() throws {
        let seeds = [
            "grant_type=client_credentials&client_id=01234567-89ab-7def-8123-456789abcdef&client_secret=a%2Bb%20c",
            "grant_type=client_credentials&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=a.b.c",
            "token=eyJhbGciOiJFUzI1NiJ9.e30.c2ln&token_type_hint=access_token",
            "scope=https%3A%2F%2Fcrm.example%2F.default+openid&empty=&bare",
            "name=%C3%A4%F0%9F%98%80",
        ]
        try Self.fuzz(seeds) { text in
            do {
                let form = try OAuthForm(Array(text.utf8), contentType: "application/x-www-form-urlencoded; charset=utf-8")
                for name in ["grant_type", "client_id", "client_secret", "client_assertion", "token", "scope", "name"] {
                    guard let value = try form[name] else { continue }
                    #expect(!value.utf8.contains(0) && value.utf8.count <= text.utf8.count)
                }
                return true
            } catch let error as OAuthError {
                #expect(error.error == "invalid_request")
                return false
            }
        }
    }

    @Test("A mutated client assertion is read or refused")
    func assertions() throws {
        let now = Date(timeIntervalSince1970: 1_800_000_000)
        let addresses = ServiceAddresses(baseURL: "https://crm.example")
        let claims = """
            {"iss":"01234567-89ab-7def-8123-456789abcdef","sub":"01234567-89ab-7def-8123-456789abcdef",\
            "aud":"https://crm.example/contoso/oauth2/v2.0/token","exp":1800000300,"nbf":1800000000,"jti":"one"}
            """
        // The header, the claims and the signature, before they are encoded; or a token as it is.
        let seeds = [
            "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"a\"}\n\(claims)\nsignature",
            "{\"alg\":\"RS256\",\"x5t#S256\":\"abc\"}\n\(claims.replacing("\"nbf\":1800000000", with: "\"iat\":1.8e9"))\nsignature",
            "{\"alg\":\"PS512\"}\n\(claims.replacing("\"https://crm.example/contoso/oauth2/v2.0/token\"", with: "[\"https://crm.example/contoso\"]"))\nsignature",
            "{\"alg\":\"ES384\"}\n\(claims.replacing("1800000300", with: "1800003599.5"))\nsignature",
        ]
        try Self.fuzz(seeds) { text in
            let parts = text.split(separator: "\n", omittingEmptySubsequences: false).map { part in
                Data(part.utf8).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
            }
            var isRead = false
            for token in [parts.joined(separator: "."), text] {
                do {
                    let assertion = try ClientAssertion(token, for: "contoso", addresses: addresses, now: now)
                    #expect(assertion.client == assertion.client.lowercased())
                    // The claims for the client, the audience and the expiry were all present.
                    #expect(
                        ["alg", "iss", "sub", "aud", "exp", "jti"].allSatisfy { text.contains("\"\($0)\"") || text.contains("\\u") }
                    )
                    isRead = true
                } catch let problem as AssertionProblem {
                    #expect(!problem.reason.isEmpty && problem.reason.utf8.count < 300)
                }
            }
            return isRead
        }
    }
}
