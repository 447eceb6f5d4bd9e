import Testing

@testable import MailFormat

@Suite("Lists of addresses that programs wrote, which are read without guessing")
struct ExactListsTests {
    private static func read(_ text: String) -> [String]? {
        AddressList.exactly(text)?.map { address, name in name.map { "\($0) | \(address)" } ?? address }
    }

    @Test(
        "Each address of a well-formed list is read with its display name",
        arguments: [
            (#""Ann \"Annie\\\" A" <ann@x.test>; Ben <ben@x.test>"#, [#"Ann "Annie\" A | ann@x.test"#, "Ben | ben@x.test"]),
            (
                "27\" TVs <tv@x.test>; support@contoso.test; Ben <ben@x.test>",
                ["27\" TVs | tv@x.test", "support@contoso.test", "Ben | ben@x.test"]
            ),
            ("\"Doe, John; <j> (x): @ y\" <j@x.test>, \"a b\"@x.test", ["Doe, John; <j> (x): @ y | j@x.test", "\"a b\"@x.test"]),
            ("Doe, John <j@x.test>,", ["Doe, John | j@x.test"]), ("CONTOSO\\ann <a@x.test>", ["CONTOSO\\ann | a@x.test"]),
            ("Ann (Sales; EMEA) <a@x.test>; b@x.test (Ben)", ["Ann (Sales; EMEA) | a@x.test", "Ben | b@x.test"]),
            ("A < B <a@x.test>; C <D> <c@x.test>", ["A < B | a@x.test", "C <D> | c@x.test"]),
            ("SAP: Workflow <wf@x.test>", ["SAP: Workflow | wf@x.test"]),
            ("Team: a@x.test, Ben <b@x.test>; c@x.test", ["a@x.test", "Ben | b@x.test", "c@x.test"]),
            ("a@x.test <A@x.test>", ["A@x.test"]), ("<\"a\\\"b\"@x.test>; c@[IPv6:::1]", ["\"a\\\"b\"@x.test", "c@[IPv6:::1]"]),
            ("undisclosed-recipients:;", []), (" ;, ", []),
            ("\"&lt;\" =?utf-8?Q?A?= <a@x.test>", ["&lt; =?utf-8?Q?A?= | a@x.test"]),
        ])
    func lists(text: String, entries: [String]) { #expect(Self.read(text) == entries) }

    @Test(
        "A list in which an address could be lost is rejected",
        arguments: [
            "A <a@x.test> B <support@contoso.test>", "<a@x.test><b@x.test>", "a@x.test <b@x.test>", "<a@x.test> b@x.test",
            "a@x.test b@x.test",
            "27\" TVs <tv@x.test>; 32\" TVs <b@x.test>", "A \"<a@x.test>, B\" <b@x.test>", "A \" <a@x.test> \" <b@x.test>",
            "Ann (a@x.test) <b@x.test>",
            "A <a@x.test; b@x.test>", "<a@x.test", "<a@x.test, b@x.test>", "a", "a@x.test; b", "Team: b;", "Team:",
            "Team: a@x.test", "A: B: a@x.test;", "<>", "(none)",
            "a@x.test\u{3001} b", "x\\\" a@x.test <b@x.test>", "A <a@x.test>: b@x.test;",
        ])
    func doubtful(text: String) { #expect(Self.read(text) == nil) }

    private static let pieces = [
        "Ann", "B", " ", " ", "\"", "\"", "\\", "<", ">", ";", ",", ":", "(", ")", "@", "[", "]", "é", "\u{FF0C}", "\u{3001}", "o@",
        "'", "\t", "Team:", "\\\"", "&lt;", "=?",
    ]

    /// A name that is quoted as RFC 5322 requires.
    private static func quoted(_ name: String) -> String {
        "\"\(name.replacing("\\", with: "\\\\").replacing("\"", with: "\\\""))\""
    }

    @Test("From a list with random display names, every address is read, or the list is rejected")
    func nothingLost() {
        var random = SplitMix(state: 20_261_128)
        var readable = 0
        for number in 0..<40_000 {
            var text = ""
            var written: [String] = []
            // Some lists lack separators. Two quotation marks in such a list could also be those of one quoted name.
            let isLoose = number % 4 == 0
            let pieces = Self.pieces.filter { !isLoose || !$0.contains("\"") }
            for entry in 0..<Int.random(in: 1...4, using: &random) {
                let address = "u\(entry)@x.test"
                let name = (0..<Int.random(in: 0...4, using: &random)).map { _ in pieces.randomElement(using: &random)! }.joined()
                switch isLoose ? 3 : Int.random(in: 0..<5, using: &random) {
                case 0: text += address
                case 1: text += "\(Self.quoted(name)) <\(address)>"
                case 2: text += "\"\(name)\" <\(address)>"
                default: text += "\(name)\(Bool.random(using: &random) ? " " : "")<\(address)>"
                }
                text += (isLoose ? [" ", "", ";", ","] : ["; ", ";", ", ", ","]).randomElement(using: &random)!
                written.append(address)
            }
            guard let read = AddressList.exactly(text)?.map(\.address) else { continue }
            readable += 1
            #expect(written.allSatisfy(read.contains), "list \(number): \(text)")
        }
        #expect(readable > 10_000)
    }

    @Test("Random display names that are quoted correctly are read unchanged")
    func names() {
        var random = SplitMix(state: 28_112_026)
        for number in 0..<20_000 {
            let names = (0..<Int.random(in: 1...4, using: &random)).map { _ in
                "n"
                    + (0..<Int.random(in: 0...5, using: &random)).map { _ in
                        Self.pieces.filter { !$0.contains("@") }.randomElement(using: &random)!
                    }.joined() + "m"
            }
            let list = names.enumerated().map { "\(Self.quoted($1)) <u\($0)@x.test>" }.joined(
                separator: ["; ", ","].randomElement(using: &random)!)
            let text = number % 3 == 0 ? "Team: \(list.replacing("; \"n", with: ", \"n"));" : list
            let expected = names.map { $0.split(whereSeparator: \.isWhitespace).joined(separator: " ") }
            #expect(AddressList.exactly(text)?.map(\.name) == expected, "list \(number): \(text)")
        }
    }

    private struct SplitMix: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var value = state
            value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
            value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
            return value ^ (value >> 31)
        }
    }
}
