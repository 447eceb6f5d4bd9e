import Tenancy
import Testing

@testable import WebAPI

@Suite("Headers of the PROXY protocol")
struct ProxyHeaderTests {
    private static let signature: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]

    private func parse(_ text: String) -> ProxyHeader { ProxyHeader.parse(Array(text.utf8)) }

    private func binary(_ command: UInt8, _ family: UInt8, _ body: [UInt8]) -> [UInt8] {
        Self.signature + [0x20 | command, family, 0, UInt8(body.count)] + body
    }

    @Test("The client's address is read from a header of version 1, which is one line")
    func text() {
        let header = "PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n"
        #expect(parse(header + "GET /") == .complete(IPAddress("192.0.2.7"), length: header.utf8.count))
        let other = "PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n"
        #expect(parse(other) == .complete(IPAddress("2001:db8::7"), length: other.utf8.count))
        #expect(parse("PROXY UNKNOWN\r\nx") == .complete(nil, length: 15))
    }

    @Test("The client's address is read from a header of version 2; a connection of the proxy itself has no address")
    func octets() {
        let header = binary(1, 0x11, [192, 0, 2, 7, 198, 51, 100, 1, 0, 1, 1, 187])
        #expect(ProxyHeader.parse(header + [0x16]) == .complete(IPAddress("192.0.2.7"), length: 28))
        #expect(ProxyHeader.parse(binary(0, 0x11, Array(repeating: 9, count: 12))) == .complete(nil, length: 28))
    }

    @Test("Any part of a header from its beginning is incomplete")
    func incomplete() {
        let headers = [
            Array("PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n".utf8),
            binary(1, 0x11, [192, 0, 2, 7, 198, 51, 100, 1, 0, 1, 1, 187]),
        ]
        for header in headers {
            for count in 0..<header.count { #expect(ProxyHeader.parse(header.prefix(count)) == .incomplete, "\(count)") }
        }
    }

    @Test(
        "Any other text is malformed",
        arguments: [
            "GET / HTTP/1.1\r\n", "PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n", "PROXY TCP4 2001:db8::7 192.0.2.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n", "PROXY TCP4 192.0.2.7 198.51.100.1 +1 443\r\n", "PROXY TCP4\n",
            "PROXY  TCP4 192.0.2.7 198.51.100.1 1 2\r\n", "PROXY " + String(repeating: "x", count: 200),
        ])
    func malformed(text: String) {
        #expect(parse(text) == .malformed)
    }

    @Test("A header of version 2 with another protocol, another version or a wrong length is malformed")
    func malformedOctets() {
        #expect(ProxyHeader.parse(binary(1, 0x12, Array(repeating: 9, count: 12))) == .malformed)
        #expect(ProxyHeader.parse(binary(1, 0x11, [1, 2, 3, 4])) == .malformed)
        #expect(ProxyHeader.parse(Self.signature + [0x21, 0x11, 0xFF, 0xFF]) == .malformed)
        #expect(ProxyHeader.parse(Self.signature + [0x11, 0x11, 0, 0]) == .malformed)
    }
}
