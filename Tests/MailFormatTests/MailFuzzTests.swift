import Foundation
import MailFormat
import Testing

/// Parses mutated messages. The parser must not crash or hang, and its results must be safe to store.
///
/// `FIELDSEAL_FUZZ_CASES` and `FIELDSEAL_FUZZ_SEED` set the number of messages and the seed; `make fuzz` runs many more.
@Suite("Mutated and hostile messages")
struct MailFuzzTests {
    private static let environment = ProcessInfo.processInfo.environment
    private static let cases = environment["FIELDSEAL_FUZZ_CASES"].flatMap(Int.init).map { $0 / 50 } ?? 3_000
    private static let seed = environment["FIELDSEAL_FUZZ_SEED"].flatMap(UInt64.init) ?? 20_261_126

    @Test("Each mutated message is parsed within two seconds, and its values are safe to store")
    func mutations() throws {
        let seeds = try MailCorpusTests.expectations.map { try MailCorpusTests.bytes($0.name) }
        #expect(seeds.count >= 128)
        var mutator = ByteMutator(seed: Self.seed)
        let start = ContinuousClock.now
        for number in 0..<Self.cases {
            let mutated = mutator.mutate(seeds[number % seeds.count], seeds[mutator.below(seeds.count)])
            let time = ProcessorTime()
            Self.check(MailMessage(mutated, keepsMessages: number % 7 == 0), "case \(number) of seed \(Self.seed)")
            #expect(time.elapsed < 2, "case \(number) of seed \(Self.seed) takes too long")
        }
        print("fuzzed \(Self.cases) messages of seed \(Self.seed) in \(ContinuousClock.now - start)")
    }

    private static func check(_ message: MailMessage, _ what: String) {
        let controls = { (text: String) in text.unicodeScalars.contains { $0.value < 0x20 && !"\t\r\n".unicodeScalars.contains($0) }
        }
        #expect(!controls(message.body) && !controls(message.subject) && !message.subject.contains(where: \.isNewline), "\(what)")
        for address in message.to + message.cc { #expect(EmailAddress.isOne(address), "\(what): \(address)") }
        #expect(!message.from.unicodeScalars.contains { $0.value < 0x20 }, "\(what): \(message.from)")
        #expect(
            message.from.isEmpty || EmailAddress.isOne(message.from) || EmailAddress.isWords(message.from),
            "\(what): \(message.from)")
        for file in message.attachments {
            #expect(
                !file.name.isEmpty && file.name != "." && file.name != ".." && file.name.utf16.count <= 260, "\(what): \(file.name)"
            )
            #expect(!file.name.unicodeScalars.contains { $0.value < 0x20 || $0 == "/" || $0 == "\\" }, "\(what): \(file.name)")
        }
    }

    /// Inputs that would need much time or stack if the parser read a part of them more than once.
    static let patterns: [(name: String, message: String)] = {
        func many(_ text: String, _ count: Int) -> String { String(repeating: text, count: count) }
        let nested = (0..<20_000).map { "Content-Type: multipart/mixed; boundary=b\($0)\r\n\r\n--b\($0)\r\n" }.joined()
        return [
            ("comments", "From: \(many("(", 200_000))\r\nTo: \(many("(a", 100_000))\r\n\r\nx"),
            ("quotes", "From: \(many("\"", 200_001))\r\nTo: \(many("\"\\", 100_000))\r\n\r\nx"),
            ("brackets", "From: \(many("<", 200_000))\r\nTo: \(many("[", 200_000))\r\nCc: \(many("a@[", 100_000))\r\n\r\nx"),
            ("encoded words", "Subject: \(many("=?utf-8?q?", 40_000))\r\n\r\nx"),
            ("question marks", "Subject: =?utf-8?q?\(many("?", 300_000))\r\n\r\nx"),
            ("addresses", "To: \(many("a@b.test, ", 50_000))\r\n\r\nx"), ("fields", "\(many("A: b\r\n", 100_000))\r\nx"),
            ("file name's quotes", "Content-Disposition: attachment; filename=\(many("\" ", 200_000))\r\n\r\nx"),
            ("lone returns", "Content-Type: multipart/mixed; boundary=b\r\n\r\n\(many("--b\r", 100_000))"),
            ("flowed", "Content-Type: text/plain; format=flowed\r\n\r\n\(many("> \r\n", 100_000))"),
            ("wide commas", "To: \(many("\u{FF0C}", 200_000))@\(many("\u{3001}", 200_000))\r\n\r\nx"),
            ("date", "Date: \(many("1:", 100_000))\r\n\r\nx"),
            ("folds", "Subject: a\r\n\(many(" b\r\n", 100_000))\r\nx"), ("junk", "\(many("junk\r\n", 100_000))Subject: s\r\n\r\nx"),
            ("nested", "\(nested)x"),
            ("delimiters", "Content-Type: multipart/mixed; boundary=b\r\n\r\n\(many("--b\r\n", 100_000))"),
            ("almost delimiters", "Content-Type: multipart/mixed; boundary=b\r\n\r\n\(many("--bb\r\n", 100_000))"),
            ("parameters", "Content-Type: text/plain; \(many("a*1*=x; ", 40_000))\r\n\r\nx"),
            ("pieces", "Content-Disposition: attachment; \((0..<20_000).map { "filename*\($0)*=x; " }.joined())\r\n\r\nx"),
            (
                "tags",
                "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n\(many("<", 300_000))\(many("<!--", 50_000))\r\n--b\r\n\r\nx"
            ),
            (
                "bodies",
                "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n\(many("<body ", 50_000))\r\n--b\r\n\r\nx"
            ),
            ("soft breaks", "Content-Transfer-Encoding: quoted-printable\r\n\r\n\(many("= ", 200_000))"),
            ("references", "References: \(many("<", 100_000))\(many("(", 100_000))\(many("<a@b> ", 50_000))\r\n\r\nx"),
            ("one line", many("a", 2_000_000)), ("blanks", "Subject: \(many(" ", 500_000))x\r\n\r\nx"),
        ]
    }()

    @Test("Parsing takes linear time, even for input that is made to be slow", arguments: patterns.map(\.name))
    func time(_ name: String) throws {
        let text = try #require(Self.patterns.first { $0.name == name }?.message)
        let time = ProcessorTime()
        Self.check(MailMessage(Array(text.utf8)), name)
        // The limit is for a debug build. With quadratic cost, reading takes minutes.
        #expect(time.elapsed < 20)
    }

    @Test("If a limit leaves out a part of a message, the whole original message is kept")
    func limits() throws {
        for name in ["nested", "delimiters"] {
            let text = try #require(Self.patterns.first { $0.name == name }?.message)
            let message = MailMessage(Array(text.utf8))
            #expect(!message.notes.isEmpty)
            let original = message.original(of: Array(text.utf8))
            #expect(original?.name == "original.eml" && original?.bytes.count == text.utf8.count)
        }
    }
}

/// Changes bytes at random. The same seed gives the same changes (xorshift64*).
private struct ByteMutator {
    private var state: UInt64

    init(seed: UInt64) { state = seed | 1 }

    mutating func below(_ limit: Int) -> Int {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return Int((state &* 0x2545_F491_4F6C_DD1D) >> 33) % max(1, limit)
    }

    private static let tokens = [
        "\r\n", "\r\n\r\n", "--", "--b--", "=?", "?=", "?B?", "?Q?", "=", "==", "\"", "(", ")", "<", ">", "@", ",", ";", ":", "\\",
        "\0", "%00", "*0*=",
        "''", "Content-Type: multipart/alternative; boundary=b\r\n", "Content-Type: message/rfc822\r\n",
        "Content-Transfer-Encoding: base64\r\n",
        "charset=utf-7", "charset=iso-2022-jp", "charset=utf-16", "charset=hz-gb-2312", "filename*=", "\u{1B}$B", "\u{FEFF}",
        "</body>", "<body>", "<!--",
    ].map { Array($0.utf8) }

    mutating func mutate(_ bytes: [UInt8], _ other: [UInt8]) -> [UInt8] {
        var bytes = bytes
        for _ in 0...below(5) {
            let at = below(bytes.count + 1)
            let end = min(bytes.count, at + below(20))
            switch below(7) {
            case 0, 1: bytes.insert(contentsOf: Self.tokens[below(Self.tokens.count)], at: at)
            case 2: bytes.removeSubrange(at..<end)
            case 3: bytes.insert(contentsOf: bytes[at..<end], at: at)
            case 4: if at < bytes.count { bytes[at] = UInt8(below(256)) }
            case 5:
                let from = below(other.count)
                bytes.insert(contentsOf: other[from..<min(other.count, from + below(300))], at: at)
            default:
                let token = Self.tokens[below(Self.tokens.count)]
                for _ in 0...below(below(40) == 0 ? 1_000 : 10) { bytes.insert(contentsOf: token, at: at) }
            }
        }
        return bytes
    }
}
