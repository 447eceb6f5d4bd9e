import Foundation
import MailFormat
import Testing

@Suite("Writing a message")
struct MessageWriterTests {
    private static func message(
        subject: String = "s", body: String = "b", isHTML: Bool = false, files: [(String, String, Data)] = []
    ) -> [UInt8] {
        var writer = MessageWriter()
        writer.add("From", people: [("Jürgen \"J\" Öttl, Dr.", "info@bücher.test")])
        writer.add("To", people: (0..<30).map { ("Person \($0)", "p\($0)@x.test") })
        writer.add("Subject", text: subject)
        writer.add("Date", date: Date(timeIntervalSince1970: 1_795_510_800))
        writer.add("MIME-Version", tokens: ["1.0"])
        guard !files.isEmpty else {
            writer.add(body: body, isHTML: isHTML)
            return writer.message
        }
        writer.begin(.mixed, "=_b")
        writer.next("=_b")
        writer.add(body: body, isHTML: isHTML)
        for (name, type, data) in files {
            writer.next("=_b")
            writer.add(file: data, name: name, type: type)
        }
        writer.end("=_b")
        return writer.message
    }

    @Test(
        "A subject that was written is equal after it is parsed",
        arguments: [
            "plain", "Grüße aus Wien, der Stadt am Fluß, und aus Köln 🎂🎂🎂 und noch mehr, damit es sich faltet, wieder und wieder",
            "=?utf-8?Q?no_word?=", "two  blanks", String(repeating: "long ", count: 60) + "end",
            String(repeating: "x", count: 1_500),
        ])
    func subjects(_ subject: String) {
        let bytes = Self.message(subject: subject)
        #expect(MailMessage(bytes).subject == subject)
        Self.checkLines(bytes)
    }

    /// Checks that a message has only 7-bit bytes and CRLF line ends, and no line of more than 998 bytes (RFC 5322 section 2.1.1).
    private static func checkLines(_ bytes: [UInt8]) {
        #expect(bytes.allSatisfy { $0 < 0x80 && $0 != 0 })
        for line in String(decoding: bytes, as: UTF8.self).components(separatedBy: "\r\n") {
            #expect(line.utf8.count <= 998 && !line.contains("\n") && !line.contains("\r"))
        }
    }

    @Test("No text of a record can add a header field or end the header")
    func injection() {
        for text in [
            "a\r\nBcc: eve@x.test", "a\nBcc: eve@x.test", "a\rBcc: eve@x.test", "a\u{85}b", "a\u{2028}Bcc: x", "\r\n\r\n<b>",
        ] {
            let bytes = Self.message(subject: text, body: text, files: [(text, text, Data())])
            Self.checkLines(bytes)
            let header = String(decoding: bytes, as: UTF8.self).components(separatedBy: "\r\n\r\n")[0]
            #expect(!header.contains("\r\nBcc:"))
            let message = MailMessage(bytes)
            #expect(message.attachments.count == 1 && message.to.count == 30)
        }
    }

    @Test("A body keeps its lines, blanks and characters, and every line end becomes CRLF")
    func bodies() {
        let text = "Über\n\nFrom here\r\n.\r\n..dots \r\n\ttab\t\nlast = 1" + String(repeating: "ü", count: 300)
        let bytes = Self.message(body: text)
        Self.checkLines(bytes)
        #expect(MailMessage(bytes).body == text.replacing("\r\n", with: "\n").replacing("\n", with: "\r\n") + "\r\n")
        #expect(String(decoding: bytes, as: UTF8.self).components(separatedBy: "\r\n").allSatisfy { !$0.hasPrefix("From ") })
    }

    @Test("Attachments keep their names and bytes, and a type that a file may not have becomes application/octet-stream")
    func files() {
        let data = Data((0..<1_000).map { UInt8(truncatingIfNeeded: $0 &* 7) })
        let names = ["a.pdf", "Grüße aus Wien, der Stadt am Fluß, mit einem langen Namen.pdf", "a \"b\" \\c.pdf", "日本語のファイル名.xlsx"]
        let message = MailMessage(
            Self.message(files: names.map { ($0, "application/pdf", data) } + [("x.eml", "message/rfc822", data)]))
        #expect(message.attachments.map(\.name) == ["a.pdf", names[1], "a \"b\" _c.pdf", names[3], "x.eml"])
        #expect(message.attachments.allSatisfy { Data($0.bytes) == data })
        #expect(message.attachments.last?.type == "application/octet-stream")
    }

    @Test("A domain is written with A-labels, so an address is in ASCII unless its local part is not")
    func addresses() {
        #expect(MailMessage(Self.message()).from == "info@xn--bcher-kva.test")
        #expect(EmailAddress.onTheWire("info@bücher.test") == ("info@xn--bcher-kva.test", false))
        #expect(EmailAddress.onTheWire("jürgen@bücher.test") == ("jürgen@xn--bcher-kva.test", true))
        #expect(EmailAddress.forms("A@XN--bcher-kva.test") == ["a@xn--bcher-kva.test", "a@bücher.test"])
        #expect(EmailAddress.forms("a@bücher.test") == ["a@bücher.test", "a@xn--bcher-kva.test"])
        #expect(EmailAddress.forms("A@b.test") == ["a@b.test"])
    }

    @Test(
        "A text that is not exactly one address is refused",
        arguments: [
            "", "a", "@b", "a@", "a@b@c", "a b@c", "a@b c", "a@b\r\nRCPT TO:<x@y>", "a\n@b", "<a@b>", "a@b>", "\"a@b", "\"\"@b",
            "\"a\r\n\"@b", "\"a\"x@b", "a@[b",
            "a@[x\r\n]", "a@[]", "a@.", "a@b,c@d", "a\0@b", "a\u{85}@b", "a\u{2028}@b", "\"\\\"@b",
        ])
    func refused(_ text: String) { #expect(!EmailAddress.isOne(text)) }
}
