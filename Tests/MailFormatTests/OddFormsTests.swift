import Foundation
import MailFormat
import Testing

/// Messages in forms that are allowed but rare, and messages whose only text is in an attachment.
@Suite("Rare forms of messages")
struct OddFormsTests {
    private static func read(_ header: String, _ body: [UInt8]) -> MailMessage {
        MailMessage(Array("From: c@x.test\r\n\(header)\r\n\r\n".utf8) + body)
    }

    private static func read(_ header: String, _ body: String = "words") -> MailMessage { read(header, Array(body.utf8)) }

    @Test(
        "Comments in Content-Transfer-Encoding are ignored",
        arguments: ["(c) base64", "base64 (c)", "(a (b) \\) c) base64", "(c)base64(d)", "base64 (c", "b(c)ase64"])
    func encodings(_ written: String) {
        let message = Self.read("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: \(written)", "R3LDvMOfZQ==")
        #expect(message.body == "Grüße")
    }

    @Test("In GBK, the byte 0x80 is the euro sign", arguments: ["gbk", "gb2312", "gb18030"])
    func euro(_ label: String) {
        let message = Self.read("Content-Type: text/plain; charset=\(label)", [0x80, 0x20, 0xD6, 0xD0])
        #expect(message.body == "€ 中" && message.notes.isEmpty)
    }

    @Test(
        "Japanese text in JIS X 0213 is decoded, also if another charset is declared",
        arguments: ["iso-2022-jp-3", "iso-2022-jp", "us-ascii"])
    func newerJapanese(_ label: String) {
        let message = Self.read("Content-Type: text/plain; charset=\(label)", "\u{1B}$BF|K\\8l\u{1B}(B \u{1B}$(O-!\u{1B}(B")
        #expect(message.body == "日本語 ①" && message.notes.isEmpty, "\(message.body)")
    }

    // MARK: Files that are the only text

    @Test("If there is no other text, an inline file is displayed, and is also an attachment")
    func onlyFiles() {
        let part =
            "Content-Type: text/html; charset=utf-8; name=b.html\r\nContent-Disposition: inline; filename=b.html\r\n\r\n<p>words</p>"
        let plain = "Content-Type: text/plain\r\nContent-Disposition: attachment; filename=a.txt\r\n\r\nof the file"
        func mixed(_ parts: String...) -> MailMessage {
            let body = parts.map { "--b\r\n\($0)\r\n" }.joined() + "--b--\r\n"
            return Self.read("Content-Type: multipart/mixed; boundary=b", body)
        }
        let alone = mixed(part)
        #expect(alone.body == "<p>words</p>" && alone.isHTML && alone.attachments.map(\.name) == ["b.html"])
        #expect(mixed(plain, part).body == "<p>words</p>")
        #expect(mixed(plain).body.isEmpty && mixed(plain).attachments.count == 1)
        #expect(mixed(plain, plain).body.isEmpty)
        #expect(mixed("\r\nother", part).body == "other")
        let root = Self.read("Content-Type: text/plain\r\nContent-Disposition: attachment")
        #expect(root.body.isEmpty && root.attachments.map(\.name) == ["attachment.txt"])
        let data = Self.read("Content-Type: text/csv\r\nContent-Disposition: inline; filename=a.csv", "1,2")
        #expect(data.body.isEmpty && data.attachments.count == 1)
    }

    // MARK: The header

    @Test("A line of blanks does not end the header if header fields follow")
    func blanks() {
        let message = Self.read("Subject: s\r\nX-A: b\r\n \r\nX-B: c\r\nList-Id: d", "body")
        #expect(message.body == "body" && message.subject == "s")
        for text in ["Hello: you", "X-Ray: yes\r\nand words"] {
            #expect(Self.read("Subject: s\r\n \r\n\(text)", "body").body.contains(text))
        }
        #expect(MailMessage(Array("From: a@x.test\r\n \r\nX-Ray: it is".utf8)).body == "X-Ray: it is")
    }

    @Test(
        "Dates in numbers, and dates with month names in Cyrillic and Greek, are parsed",
        arguments: [
            ("27.11.2026 09:00", "2026-11-27T09:00:00Z"), ("11/27/2026 09:00:00", "2026-11-27T09:00:00Z"),
            ("27/11/2026 09:00:00 +0100", "2026-11-27T08:00:00Z"), ("05.06.2026 09:00", "2026-06-05T09:00:00Z"),
            ("пт, 27 ноя 2026 09:00:00 +0300", "2026-11-27T06:00:00Z"), ("27 ноября 2026 г. 09:00:00", "2026-11-27T09:00:00Z"),
            ("середа, 25 листопада 2026 09:00:00", "2026-11-25T09:00:00Z"), ("Παρ, 27 Νοε 2026 09:00:00", "2026-11-27T09:00:00Z"),
        ])
    func dates(written: String, meant: String) { #expect(Self.read("Date: \(written)").date?.ISO8601Format() == meant) }

    @Test(
        "A numeric date that is ambiguous or impossible is nil, and a note says so",
        arguments: ["05/06/2026 09:00", "32.11.2026 09:00", "27.13.2026 09:00"])
    func unclearDates(_ written: String) {
        let message = Self.read("Date: \(written)")
        #expect(message.date == nil && message.notes.map(\.isOfHeader) == [true])
    }

    @Test(
        "A file without a name gets a name with the extension of its type",
        arguments: [
            ("application/x-zip-compressed", "attachment.zip"), ("message/global-headers", "headers.txt"),
            ("application/foo+json", "attachment.json"), ("text/x-python", "attachment.txt"), ("application/foo", "attachment.bin"),
        ])
    func endings(type: String, name: String) { #expect(Self.read("Content-Type: \(type)").attachments.map(\.name) == [name]) }

    @Test("An XHTML part without a file name is displayed as the text")
    func xhtml() {
        let message = Self.read("Content-Type: application/xhtml+xml", "<html><body><p>words</p></body></html>")
        #expect(message.isHTML && message.body.contains("words") && message.attachments.isEmpty)
    }

    // MARK: Undeclared charsets

    @Test(
        "The charset of a short text is recognized if none is declared",
        arguments: [
            ("안녕하세요 주문 어디", "euc-kr", "vsiz58fPvLy/5CDB1rmuIL7utfA="),
            ("İyi günler, siparişim nerede? Çağrı", "windows-1254", "3XlpIGf8bmxlciwgc2lwYXJp/mltIG5lcmVkZT8gx2Hwcv0="),
            ("您好，我的訂單在哪裡", "big5", "sXqmbqFBp9qquq1xs+amYq3+uMw="),
            ("Grüße aus Köln, schöne Tage", "windows-1252", "R3L832UgYXVzIEv2bG4sIHNjaPZuZSBUYWdl"),
            ("Það er ýmislegt að frétta, þakka þér", "windows-1252", "3mHwIGVyIP1taXNsZWd0IGHwIGZy6XR0YSwg/mFra2Eg/uly"),
            ("Það var ýmislegt að", "windows-1252", "3mHwIHZhciD9bWlzbGVndCBh8A=="),
            ("Здравствуйте, где мой заказ?", "windows-1251", "x+Tw4OLx8uLz6fLlLCDj5OUg7O7pIOfg6uDnPw=="),
        ])
    func undeclared(text: String, charset: String, encoded: String) throws {
        let bytes = Array(try #require(Data(base64Encoded: encoded)))
        let message = Self.read("Content-Type: text/plain", bytes)
        #expect(message.body == text)
        #expect(Self.read("Content-Type: text/plain; charset=\(charset)", bytes).body == text)
    }
}
