import Foundation
import JSON
import Testing

@Suite("JSON")
struct JSONTests {
    @Test("Valid JSON is parsed as RFC 8259 requires", arguments: validTexts)
    func valid(text: String, value: JSONValue) throws {
        #expect(try JSONParser.parse(Array(text.utf8)) == value)
    }

    @Test(
        "Invalid JSON, duplicate members and misplaced byte order marks are refused",
        arguments: [
            "", " ", "{", "[1,]", "{\"a\":1,}", "{\"a\" 1}", "01", "1.", ".5", "+1", "1e", "nul", "\"", "\"\\x\"", "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\n\"", "1 2", "{\"a\":1,\"a\":2}", "'a'", "NaN", "[1", "{\"a\"", "\u{FEFF}", "\u{FEFF}\u{FEFF}1", " \u{FEFF}1",
            "1\u{FEFF}", "\"\\u12g4\"",
        ])
    func invalid(text: String) {
        #expect(throws: JSONParser.SyntaxError.self) { try JSONParser.parse(Array(text.utf8)) }
    }

    @Test("A byte order mark before the value is ignored, and a byte order mark in a string is kept")
    func byteOrderMark() throws {
        #expect(try JSONParser.parse(Array("\u{FEFF} {\"a\":1}".utf8)) == ["a": 1])
        #expect(try JSONParser.parse(Array("\"\u{FEFF}\"".utf8)) == .string("\u{FEFF}"))
        // Bytes in UTF-16, with its byte order mark in either order.
        #expect(throws: JSONParser.SyntaxError.self) { try JSONParser.parse([0xFF, 0xFE, 0x31, 0x00]) }
        #expect(throws: JSONParser.SyntaxError.self) { try JSONParser.parse([0xFE, 0xFF, 0x00, 0x31]) }
    }

    @Test("Bytes that are not UTF-8 are refused, in strings and elsewhere")
    func notUTF8() {
        #expect(throws: JSONParser.SyntaxError.self) { try JSONParser.parse([0xFF]) }
        #expect(throws: JSONParser.SyntaxError.self) { try JSONParser.parse([0x22, 0xFF, 0x22]) }
    }

    @Test("Nesting of at most 64 levels is accepted")
    func depth() throws {
        func nested(_ depth: Int) -> [UInt8] {
            Array((String(repeating: "[", count: depth) + String(repeating: "]", count: depth)).utf8)
        }
        _ = try JSONParser.parse(nested(64))
        #expect(throws: JSONParser.SyntaxError.self) { try JSONParser.parse(nested(65)) }
        #expect(throws: JSONParser.SyntaxError.self) { try JSONParser.parse(nested(1_000_000)) }
    }

    @Test("Any value that was written as JSON is equal after it is parsed")
    func roundTrip() throws {
        var generator = SystemRandomNumberGenerator()
        func value(_ depth: Int) -> JSONValue {
            switch Int.random(in: 0..<(depth > 4 ? 5 : 7), using: &generator) {
            case 0: return .null
            case 1: return .bool(.random(using: &generator))
            case 2: return .integer(.random(in: .min ... .max, using: &generator))
            case 3: return .number("-12.5e-7")
            case 4:
                return .string(
                    String(
                        String.UnicodeScalarView(
                            (0..<Int.random(in: 0..<9)).compactMap { _ in Unicode.Scalar(UInt32.random(in: 0..<0x11_0000)) })))
            case 5: return .array((0..<Int.random(in: 0..<5)).map { _ in value(depth + 1) })
            default: return .object((0..<Int.random(in: 0..<5)).map { .init("\($0)\"\u{1}", value(depth + 1)) })
            }
        }
        for _ in 0..<2_000 {
            let original = value(0)
            #expect(try JSONParser.parse(original.utf8) == original)
        }
    }

    @Test("Random bytes and damaged texts never crash the parser")
    func fuzz() {
        let seed = Array(#"{"EncryptionKey":"Abc\u00e9\ud83d\udd11","ChangeEncryptionKey":true,"n":[-1.5e3,null,{"a":{}}]}"#.utf8)
        var parsed = 0
        for _ in 0..<200_000 {
            var bytes = seed
            for _ in 0..<Int.random(in: 1...4) { bytes[.random(in: bytes.indices)] = .random(in: 0...255) }
            if Bool.random() { bytes.removeLast(.random(in: 0..<bytes.count)) }
            if (try? JSONParser.parse(bytes)) != nil { parsed += 1 }
        }
        #expect(parsed > 0)
    }
}

private let validTexts: [(String, JSONValue)] = [
    ("null", .null), (" [ ] ", .array([])), ("{}", .object([])), ("-0", .integer(0)), ("9223372036854775807", .integer(.max)),
    ("9223372036854775808", .number("9223372036854775808")), ("1.50e+3", .number("1.50e+3")),
    (#""\u00e9\ud83d\udd11\n\/""#, "é\u{1F511}\n/"),
    (#"{"a":[true,false,null,{"b":""}]}"#, ["a": .array([.bool(true), .bool(false), .null, .object([.init("b", "")])])]),
]
