import Foundation
import MailFormat
import Testing

/// Tests each rule of the message parser with forms that occur in real mail.
@Suite("Reading a message")
struct MailReadingTests {
    private static func message(_ header: String, _ body: String = "The words.") -> MailMessage {
        MailMessage(Array("From: c@x.test\r\n\(header)\r\n\r\n\(body)".utf8))
    }

    private static func multipart(_ subtype: String, _ parts: [(type: String, text: String)]) -> MailMessage {
        let body = parts.map { "--b\r\nContent-Type: \($0.type)\r\n\r\n\($0.text)\r\n" }.joined() + "--b--\r\n"
        return message("Content-Type: multipart/\(subtype); boundary=b", body)
    }

    @Test(
        "Encoded and folded subjects are decoded",
        arguments: [
            ("=?utf-8?B?w6k?= =?utf-8?B?w7Y?=", "éö"), ("=?utf-8?B?w?= =?utf-8?B?6nDtg==?=", "éö"),
            ("=?utf-8?Q?=C3?= =?utf-8?Q?=A9x?=", "éx"), ("=?utf-8?B?w6k=?= abc =?utf-8?Q?d_e?=", "é abc d e"),
            ("abc=?utf-8?Q?=C3=A9?=def", "abcédef"), ("=?utf-8?Q?a b c?=", "a b c"), ("=?utf-8?Q?what?_really?=", "what? really"),
            ("=?utf-8?B?w6k=?= =?iso-8859-1?Q?=E9?=", "éé"), ("=?utf-8?X?abc?=", "=?utf-8?X?abc?="),
            ("=?utf-8?Q?abc", "=?utf-8?Q?abc"),
            ("=?iso-2022-jp?B?GyRCJDMbKEI=?= =?iso-2022-jp?B?GyRCJHMbKEI=?=", "こん"), ("\u{1B}$B$3$s\u{1B}(B", "こん"),
            ("one\r\n two\r\n\tthree", "one two three"), ("=?x-foo?Q?a=E9?=", "aé"), ("=?utf-8*de?Q?=C3=A9?=", "é"), ("", ""),
        ])
    func subject(written: String, meant: String) { #expect(Self.message("Subject: \(written)").subject == meant) }

    @Test(
        "The sender's address is found in well-formed and malformed From fields",
        arguments: [
            ("o'brien@x.test", "o'brien@x.test"), ("<@r.test,@q.test:u@x.test>", "u@x.test"), ("\"Unclosed <a@b.test>", "a@b.test"),
            ("Doe, John <a@b.test>", "a@b.test"), ("a@b.test via List <list@c.test>", "list@c.test"),
            ("Shop: Support <a@b.test>", "a@b.test"),
            ("<<a@b.test>>", "a@b.test"), ("Name < a@b.test >", "a@b.test"), ("a@b.test.", "a@b.test"),
            ("Team: a@b.test, c@d.test;", "a@b.test"),
            ("SMTP:a@b.test", "a@b.test"), ("a@b.test (John (Joe) Doe)", "a@b.test"), ("用户@例子.test", "用户@例子.test"),
            ("\"John\r\n Doe\" <a@b.test>", "a@b.test"), ("john . doe @ x . test", "john.doe@x.test"), ("'a@b.test'", "a@b.test"),
            ("\"a\\\"b\"@x.test", "\"a\\\"b\"@x.test"), ("root@localhost", "root@localhost"),
            ("\"a@b.test\" <c@d.test>", "c@d.test"),
            ("[a@b.test]", "a@b.test"), ("<a@b.test", "a@b.test"), ("=?utf-8?B?PGFAYi50ZXN0Pg==?=", "a@b.test"),
            ("<mailto:a@b.test>", "a@b.test"),
            ("<>", ""), ("Just A Name", "Just A Name"), ("MAILER-DAEMON", "MAILER-DAEMON"),
            ("<a@b.test>\r\nBcc: x@y.test", "a@b.test"), ("a@b.test\u{0}", "a@b.test"), ("\"a\r\n b\"@x.test", "\"a b\"@x.test"),
        ])
    func sender(written: String, meant: String) {
        #expect(MailMessage(Array("From: \(written)\r\nSubject: s\r\n\r\nHello.".utf8)).from == meant)
    }

    @Test(
        "The file name of an attachment is decoded, and made safe",
        arguments: [
            ("filename*=utf-8''Gr%C3%BC.pdf", "Grü.pdf"),
            ("filename*0*=utf-8''Gr%C3; filename*1*=%BC; filename*2=\".pdf\"", "Grü.pdf"),
            ("filename*1=b.pdf; filename*0=a", "ab.pdf"), ("filename=x.pdf; filename*=utf-8''y.pdf", "y.pdf"),
            ("filename=\"Grü.pdf\"", "Grü.pdf"),
            ("filename=my file (1).pdf", "my file (1).pdf"), ("filename*=utf-8''a%00b.pdf", "ab.pdf"),
            ("filename=\"C:\\temp\\x.pdf\"", "x.pdf"), ("filename=\"a\\\"b.pdf\"", "a\"b.pdf"),
            ("filename=\"AC/DC.pdf\"", "AC_DC.pdf"),
            ("filename=\"../../x.pdf\"", "x.pdf"), ("filename=\"..\"", "attachment.pdf"), ("filename=\"/\"", "attachment.pdf"),
            ("filename*=utf-8''a%E2%80%AEfdp.exe", "afdp.exe"), ("filename=\"=?utf-8?Q?a_b=2Epdf?=\"", "a b.pdf"),
            ("filename*=Gr%C3%BC.pdf", "Grü.pdf"), ("filename=\"\"", "attachment.pdf"), ("filename=\"/\u{301}a\"", "\u{301}a"),
        ])
    func fileName(written: String, meant: String) {
        let message = Self.message("Content-Type: application/pdf\r\nContent-Disposition: attachment; \(written)")
        #expect(message.attachments.map(\.name) == [meant])
    }

    @Test("A long file name is cut to 255 characters and keeps its extension")
    func longName() {
        let message = Self.message("Content-Disposition: attachment; filename=\"\(String(repeating: "x", count: 400)).pdf\"")
        #expect(message.attachments.first?.name.count == 255)
        #expect(message.attachments.first?.name.hasSuffix("x.pdf") == true)
    }

    @Test("The displayed text is chosen among the parts, and the other parts become attachments")
    func selection() {
        let plain = ("text/plain", "plain words")
        let html = ("text/html", "<p>html words</p>")
        #expect(Self.multipart("alternative", [html, plain]).body == "<p>html words</p>")
        #expect(
            Self.multipart("alternative", [plain, ("text/html", "<html><body>&nbsp;<br><img src=x></body></html>")]).body
                == "plain words")
        let both = Self.multipart(
            "mixed", [("text/plain", "a < b"), ("text/html", "<html><body class=x><p>html</p></body></html>"), plain])
        #expect(both.isHTML)
        #expect(both.body.contains("<body class=x><div style=\"white-space: pre-wrap\">a &lt; b</div>\r\n<p>html</p>"))
        #expect(both.body.hasSuffix("plain words</div>\r\n</body></html>"))
        #expect(Self.multipart("mixed", [plain, ("text/plain; name=a.txt", "a file")]).attachments.map(\.name) == ["a.txt"])
        #expect(
            Self.multipart("alternative", [("text/plain; name=a.txt", "p"), ("text/html; name=a.html", "<p>h</p>")]).body
                == "<p>h</p>")
        #expect(Self.multipart("mixed", [plain, ("text/x-vcard", "BEGIN:VCARD")]).attachments.map(\.name) == ["contact.vcf"])
        #expect(Self.multipart("report", [("message/delivery-status", "Action: failed")]).body == "Action: failed")
        #expect(Self.message("Content-Type: text/plain; name=x.txt").body == "The words.")
        #expect(Self.multipart("mixed", []).body == "")
        #expect(Self.multipart("alternative", [("text/enriched", "<bold>rich</bold> << 5")]).body == "rich < 5")
    }

    @Test("A `<` with a combining mark is escaped when plain text becomes HTML")
    func escaping() {
        let message = Self.multipart("mixed", [("text/plain; charset=utf-8", "<\u{301}script>"), ("text/html", "<p>h</p>")])
        #expect(!message.body.contains("<\u{301}"))
        #expect(message.body.contains("&lt;\u{301}script&gt;"))
    }

    @Test("An attachment in an alternative that is not displayed is kept")
    func attachmentsOfAlternatives() {
        let inner =
            "--c\r\nContent-Type: text/plain\r\n\r\nplain\r\n--c\r\nContent-Type: application/pdf; name=x.pdf\r\n\r\nPDF\r\n--c--"
        let message = Self.multipart("alternative", [("multipart/mixed; boundary=c", inner), ("text/html", "<p>h</p>")])
        #expect(message.body == "<p>h</p>")
        #expect(message.attachments.map(\.name) == ["x.pdf"])
    }

    @Test("Malformed headers are repaired")
    func headers() {
        let junk = MailMessage(Array("From: c@x.test\r\nthis is junk\r\nSubject: s\r\nTo: a@b.test\r\n\r\nbody".utf8))
        #expect(junk.subject == "s" && junk.to == ["a@b.test"] && junk.body == "body")
        let open = MailMessage(Array("From: c@x.test\r\nSubject: s\r\nHello John, the text\r\nNote: begins at once\r\n".utf8))
        #expect(open.subject == "s" && open.body == "Hello John, the text\r\nNote: begins at once\r\n")
        #expect(MailMessage(Array("From: c@x.test\rSubject: s\r\rbody\rline".utf8)).body == "body\nline")
        let footer = Self.message("Content-Transfer-Encoding: base64", "VGhlIHdvcmRzLg==\r\n_______\r\nthe list's footer\r\n")
        #expect(footer.body == "The words.\r\n_______\r\nthe list's footer\r\n")
    }

    @Test(
        "Dates in the forms of RFC 5322 are parsed",
        arguments: [
            ("Tue, 24 Nov 2026 10:00:00 +0100", 1_795_510_800.0), ("24 Nov 26 10:00 +0100", 1_795_510_800),
            ("Tue, 24 Nov 2026 09:00:00 GMT (UTC)", 1_795_510_800),
            ("Tue, 24 Nov 2026 04:00:00 EST", 1_795_510_800), ("Tue Nov 24 09:00:00 2026", 1_795_510_800),
        ])
    func date(written: String, meant: Double) { #expect(Self.message("Date: \(written)").date?.timeIntervalSince1970 == meant) }

    @Test("An invalid date is nil; without a Date field, the date of Received is used")
    func noDate() {
        #expect(Self.message("Date: yesterday").date == nil)
        #expect(Self.message("Received: by x.test; Tue, 24 Nov 2026 10:00:00 +0100").date?.timeIntervalSince1970 == 1_795_510_800)
    }

    @Test("Message-IDs in References and In-Reply-To are read with comments, folding, encoded words or missing brackets")
    func references() {
        #expect(Self.message("In-Reply-To: (an answer) <a@b.test> (to it)").references == ["<a@b.test>"])
        #expect(Self.message("In-Reply-To: Your message of Tuesday <a@b.test>").references == ["<a@b.test>"])
        #expect(
            Self.message("References: <a@b.test>\r\n\t<c@d.test>,<e@f.test><g@h.test>").references == [
                "<g@h.test>", "<e@f.test>", "<c@d.test>", "<a@b.test>",
            ])
        #expect(Self.message("In-Reply-To: a@b.test").references == ["<a@b.test>"])
        #expect(Self.message("In-Reply-To: =?utf-8?Q?=3Ca=40b.test=3E?=").references == ["<a@b.test>"])
        let many = Self.message("References: \((0..<400).map { "<r\($0)@b.test>" }.joined(separator: "\r\n "))").references
        #expect(many.count == 100 && many.first == "<r399@b.test>" && many.contains("<r0@b.test>"))
    }
}
