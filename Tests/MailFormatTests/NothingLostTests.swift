import Foundation
import MailFormat
import Testing

/// Messages of which a strict parser would drop texts, parts or senders.
@Suite("Nothing of a message is lost")
struct NothingLostTests {
    private static func multipart(_ subtype: String, _ parts: [(type: String, text: String)]) -> MailMessage {
        let body = parts.map { "--b\r\nContent-Type: \($0.type)\r\n\r\n\($0.text)\r\n" }.joined() + "--b--\r\n"
        return MailMessage(Array("From: c@x.test\r\nContent-Type: multipart/\(subtype); boundary=b\r\n\r\n\(body)".utf8))
    }

    private static func read(_ header: String, _ body: String = "The words.") -> MailMessage {
        MailMessage(Array("From: c@x.test\r\n\(header)\r\n\r\n\(body)".utf8))
    }

    // MARK: Names of files

    @Test(
        "If a file name has bytes that are not characters, the original message is kept",
        arguments: [
            "filename*=utf-8''a%FFb.pdf", "filename=\"=?utf-8?Q?a=FFb.pdf?=\"", "filename*0*=utf-8''a%C3; filename*1=\"b.pdf\"",
        ])
    func names(_ parameter: String) {
        let part = "Content-Type: application/pdf\r\nContent-Disposition: attachment; \(parameter)\r\n\r\nx"
        let message = MailMessage(
            Array(
                "From: c@x.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nwords\r\n--b\r\n\(part)\r\n--b--\r\n"
                    .utf8))
        #expect(message.attachments.map(\.name) == ["a\u{FFFD}b.pdf"], "\(message.attachments.map(\.name))")
        #expect(message.notes.contains { $0.text.contains("the name of a file") }, "\(message.notes)")
        let whole = Self.multipart("mixed", [("text/plain", "words"), ("application/pdf; name=\"ä.pdf\"", "x")])
        #expect(!whole.notes.contains { $0.text.contains("name of a file") })
    }

    // MARK: HTML

    /// Malformed HTML from real programs, and a word in each that a browser would show.
    static let documents: [(html: String, word: String)] = [
        ("<html><head><meta name=\"x\"><div>Hello from a sloppy mailer</div></html>", "sloppy"),
        ("<html><head><style>p{}</style><p>Hello</p></html>", "Hello"),
        ("<html><title>News<body><p>Hello</p></body></html>", "Hello"),
        ("<html><style>p{}<body>Hello", "Hello"), ("<style type=\"text/css\"/><p>Hello", "Hello"),
        ("<a href=\"https://shop.test/offer\"><img src=\"https://shop.test/offer.png\" alt=\"20% off everything\"></a>", "20% off"),
        ("<a href=\"https://shop.test/offer\"><img src=\"https://shop.test/offer.png\"></a>", "offer.png"),
        ("<form><input type=\"submit\" value=\"Confirm your order 4711\"></form>", "4711"),
        ("<iframe src=\"https://shop.test/\"></iframe>", "shop.test"), ("<head>Hello without a body", "Hello"),
        ("<style><!-- p{} </style><p>Hello</p>", "Hello"), ("<!--><p>Hello</p>", "Hello"), ("<!-- Hello", "Hello"),
        ("<script>if (a < b) x()</script>Hello", "Hello"), ("<a href=\"x\" title=\"Hello", "Hello"),
        ("<title>x</title >Hello", "Hello"), ("<map><area href=\"https://x.test/hello\"></map>", "hello"),
        ("<textarea>Hello</textarea>", "Hello"), ("<noscript>Hello</noscript>", "Hello"),
        ("<object data=\"https://x.test/hello\"></object>", "hello"), ("<select><option label=\"Hello\"></select>", "Hello"),
    ]

    @Test(
        "Malformed HTML that a browser would display is kept, together with the message's other text",
        arguments: documents.map(\.html))
    func html(_ document: String) throws {
        let word = try #require(Self.documents.first { $0.html == document }?.word)
        for parts in [
            [("text/html", document), ("text/plain", "-- \nlist footer")], [("text/plain", "above"), ("text/html", document)],
        ] {
            let message = Self.multipart("mixed", parts)
            #expect(message.body.contains(word), "\(message.body)")
            #expect(message.body.contains(parts[0].0 == "text/plain" ? "above" : "list footer"))
            #expect(message.isHTML && message.attachments.isEmpty)
        }
        let alternative = Self.multipart(
            "alternative", [("text/plain", "Your mail program shows no HTML."), ("text/html", document)])
        #expect(alternative.body.contains(word), "\(alternative.body)")
    }

    @Test("A comment or an element without an end in one HTML part does not hide the parts after it")
    func unclosed() {
        for open in ["<p>one</p><!-- two", "<p>one</p><style> two", "<p>one</p><title> two", "<p>one</p><a href=\"two"] {
            let message = Self.multipart("mixed", [("text/html", open), ("text/html", "<b>three</b>"), ("text/plain", "four")])
            for opening in ["<!--", "<style", "<title", "<a"] { #expect(!message.body.contains(opening), "\(message.body)") }
            for word in ["one", "two", "three", "four"] { #expect(message.body.contains(word), "\(message.body)") }
        }
        #expect(Self.read("Content-Type: text/html", "<p>one</p><!-- two").body == "<p>one</p><!-- two")
    }

    @Test("HTML with only pictures becomes an attachment if there is a text; a tracking picture counts as empty")
    func pictures() {
        for picture in [
            "<img src=x>", "<table background=\"https://x.test/a.png\">", "<div style=\"background: url(a.png)\">", "<svg></svg>",
        ] {
            let message = Self.multipart("alternative", [("text/plain", "plain words"), ("text/html", picture)])
            #expect(message.body == "plain words" && message.attachments.map(\.name) == ["attachment.html"])
            #expect(message.attachments.first.map { String(decoding: $0.bytes, as: UTF8.self) } == picture)
            #expect(Self.multipart("mixed", [("text/html", picture), ("text/plain", "plain words")]).body.contains(picture))
        }
        for nothing in [
            "<html><head><title>x</title></head><body>&nbsp;</body></html>", "<img src=x width=1 height=\"1\">",
            "<a href=\"#\"></a>",
        ] {
            let message = Self.multipart("alternative", [("text/plain", "plain words"), ("text/html", nothing)])
            #expect(message.body == "plain words" && message.attachments.isEmpty)
        }
    }

    @Test("An alternative for specialized programs, such as AMP, becomes an attachment only if there is no other alternative")
    func onlyForms() {
        #expect(Self.multipart("alternative", [("text/x-amp-html", "<p>amp</p>")]).attachments.count == 1)
        #expect(Self.multipart("alternative", [("text/x-amp-html", "<p>amp</p>"), ("text/plain", "p")]).attachments.isEmpty)
    }

    // MARK: Parts

    @Test("If a nested multipart has the same boundary as the outer one, no part is lost")
    func sameBoundary() throws {
        let inner = "--B\r\nContent-Type: multipart/alternative; boundary=B\r\n\r\n--B\r\n\r\ninner words\r\n--B--\r\n"
        let text = "From: c@x.test\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n\(inner)--B\r\n\r\nouter words\r\n--B--\r\n"
        let message = MailMessage(Array(text.utf8))
        #expect(message.body.contains("inner words") && message.body.contains("outer words"))
        #expect(try #require(message.original(of: Array(text.utf8))).bytes == Array(text.utf8))
    }

    @Test(
        "If there are parts outside of the delimiters, the original message is kept",
        arguments: [
            "--b\r\n\r\nwords\r\n--b--\r\n--c\r\nContent-Type: text/plain\r\n\r\nlost\r\n--c--\r\n", "lost words\r\n--b--\r\n",
        ])
    func strayParts(_ body: String) {
        let message = Self.read("Content-Type: multipart/mixed; boundary=b", body)
        #expect(message.original(of: [1, 2])?.name == "original.eml")
        #expect(message.original(of: [1, 2])?.bytes == [1, 2])
    }

    @Test("Common text before and after the parts does not cause the original message to be kept")
    func frame() {
        for end in ["", "\r\n", "\r\nA scanner's words\r\n", "\r\n--b--\r\n"] {
            let body = "This is a message in MIME format.\r\n--b\r\n\r\nwords\r\n--b--\(end)"
            let message = Self.read("Content-Type: multipart/mixed; boundary=b", body)
            #expect(message.body == "words" && message.notes.isEmpty && message.original(of: []) == nil)
        }
        let open = Self.read(
            "Content-Type: multipart/mixed; boundary=b", "Content-Type: text/plain\r\n\r\nfirst\r\n--b\r\n\r\nsecond\r\n--b--")
        #expect(open.body.contains("first") && open.body.contains("second"))
    }

    // MARK: Encodings and charsets

    @Test("Base64 is decoded with both alphabets, and text after the base64 is kept")
    func base64() {
        let text = "ÿþ?>~ Wörter und noch ein paar mehr ÿÿÿþþþ???>>>, damit es mehrere Zeilen sind ÿþÿþ"
        let standard = Data(text.utf8).base64EncodedString(options: .lineLength64Characters)
        let url = standard.replacing("+", with: "-").replacing("/", with: "_")
        #expect(url.contains("-") || url.contains("_"))
        let header = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64"
        for written in [standard, url, url.replacing("=", with: "")] { #expect(Self.read(header, written).body == text) }
        for footer in [String(repeating: "_", count: 48), "-- \r\nfooter", "--=20list"] {
            #expect(Self.read(header, "\(Data("words".utf8).base64EncodedString())\r\n\(footer)\r\n").body.contains(footer))
        }
        #expect(Self.read("Subject: =?utf-8?B?w7_Dvg==?=").subject == "ÿþ")
    }

    @Test(
        "An encoded word that can't be decoded stays unchanged",
        arguments: [
            ("=?utf-8?B?!!!!?= Hello", "=?utf-8?B?!!!!?= Hello"), ("=?utf-8?B?A?=", "=?utf-8?B?A?="),
            ("=?utf-8?B?!!!!?= =?utf-8?B?w6k=?=", "=?utf-8?B?!!!!?= é"), ("=?utf-8?B??= Hello", "Hello"),
            ("a =?utf-8?Q??= b", "a  b"),
        ])
    func undecodable(written: String, meant: String) {
        #expect(Self.read("Subject: \(written)").subject.split(separator: " ") == meant.split(separator: " "))
    }

    @Test(
        "Text in rare charsets is decoded",
        arguments: [
            ("iso-8859-16", "Țară", [0xDE, 0x61, 0x72, 0xE3]), ("ISO_8859-16:2001", "Țară", [0xDE, 0x61, 0x72, 0xE3]),
            ("johab", "안녕", [0xB4, 0x65, 0x91, 0x77]), ("viscii", "Tiếng", [0x54, 0x69, 0xAA, 0x6E, 0x67]),
            ("ptcp154", "Қазақ", [0x8D, 0xE0, 0xE7, 0xE0, 0x9D]), ("koi8-t", "Тоҷ", [0xF4, 0xCF, 0x8D]),
        ] as [(String, String, [UInt8])])
    func charsets(label: String, meant: String, bytes: [UInt8]) {
        let message = MailMessage(Array("From: c@x.test\r\nContent-Type: text/plain; charset=\"\(label)\"\r\n\r\n".utf8) + bytes)
        #expect(message.body.precomposedStringWithCanonicalMapping == meant)
        #expect(message.notes.isEmpty)
    }

    @Test("Text in an unknown charset is guessed, and a note says so")
    func unknownCharset() {
        let header = "Content-Type: text/plain; charset=x-klingon"
        let bytes = Array("From: c@x.test\r\n\(header)\r\n\r\n".utf8) + [0x61, 0xE9]
        let message = MailMessage(bytes)
        #expect(message.body == "aé" && message.notes.count == 1 && message.notes[0].text.contains("x-klingon"))
        #expect(message.original(of: bytes)?.bytes == bytes)
        #expect(Self.read(header, "ascii").notes.isEmpty)
        let subject = Self.read("Subject: =?x-klingon?Q?a=E9?=")
        #expect(subject.subject == "aé" && subject.notes.map(\.isOfHeader) == [true])
        for known in ["=?x-klingon?Q?a?=", "=?windows-1252?Q?=E9?=", "=?ibm-1047?Q?=E9?=", "=?utf-8*de?Q?=C3=A9?="] {
            #expect(Self.read("Subject: \(known)").notes.isEmpty, "\(known)")
        }
    }

    // MARK: Names and addresses

    @Test(
        "The sender's address, or else the text in its place, is found in unusual From fields",
        arguments: [
            ("\"a@x.test\"", "a@x.test"), ("\"a@x.test\" <>", "a@x.test"), ("a@x.test:25", "a@x.test"),
            ("<a@x.test:25>", "a@x.test"),
            ("a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"), ("mailto:a@x.test?subject=hi", "a@x.test"),
            ("<mailto:a@x.test?subject=hi&cc=b@x.test>", "a@x.test"), ("\u{200B}a@x.test", "a@x.test"),
            ("a@x.test\u{FEFF}", "a@x.test"),
            ("a\u{FF20}x.test", "a@x.test"), ("Jo <a\u{FF20}x.test>", "a@x.test"),
            ("Mail Delivery Subsystem", "Mail Delivery Subsystem"),
            ("=?utf-8?Q?J=C3=BCrgen_from_sales?=", "Jürgen from sales"), ("undisclosed-recipients:;", "undisclosed-recipients:;"),
            ("a@@x.test", "a@@x.test"), ("a@b@x.test", "a@b@x.test"), ("Jo <a@b@x.test>", "Jo <a@b@x.test>"),
            ("/O=ORG/OU=X/CN=JO", "/O=ORG/OU=X/CN=JO"), ("Jo <>", "Jo"), ("<>", ""), ("\"\" <@>", ""),
            ("a@@x.test\r\nReply-To: b@x.test", "b@x.test"),
        ])
    func sender(written: String, meant: String) {
        #expect(MailMessage(Array("From: \(written)\r\nSubject: s\r\n\r\nHello.".utf8)).from == meant)
    }

    @Test("If a recipient's address can't be read, a note names it, and the header is kept")
    func recipients() throws {
        let header = "From: c@x.test\r\nTo: a@b.test, x@y@z.test, \"Doe, Jo\" <jo@x.test>\r\nSubject: s\r\n\r\n"
        let message = MailMessage(Array("\(header)words".utf8))
        #expect(
            message.to == ["a@b.test", "jo@x.test"] && message.notes.count == 1 && message.notes[0].text.contains("x@y@z.test"))
        let kept = try #require(message.original(of: Array("\(header)words".utf8)))
        #expect(kept.name == "original-header.txt" && kept.bytes == Array(header.utf8))
        for usual in ["To: undisclosed-recipients:;", "To: Doe, John <a@b.test>", "Cc: \"unlisted-recipients\":;", "To: <>", "To:"]
        {
            #expect(Self.read(usual).notes.isEmpty, "\(usual)")
        }
        #expect(Self.read("To: All our customers").notes.count == 1)
        let many = Self.read("Cc: \((0..<10_050).map { "a\($0)@b.test" }.joined(separator: ",\r\n "))")
        #expect(many.cc.count == 10_000 && many.notes.count == 1 && many.notes[0].isOfHeader)
    }

    @Test(
        "A file name is also found in fields in which other mail programs look for it",
        arguments: [
            ("Content-Disposition: attachment; name=\"x.pdf\"", "x.pdf"), ("Content-Description: offer 4711.pdf", "offer 4711.pdf"),
            ("Content-Disposition: attachment; filename=a.pdf; name=b.pdf", "a.pdf"),
            ("Content-Description: An offer", "attachment.pdf"),
            ("Content-Description: =?utf-8?Q?Gr=C3=BC=C3=9Fe.pdf?=", "Grüße.pdf"), ("Content-Description: ../x.pdf", "x.pdf"),
        ])
    func names(written: String, meant: String) {
        #expect(Self.read("Content-Type: application/pdf\r\n\(written)").attachments.map(\.name) == [meant])
    }

    @Test("If a header field can't be represented, there is a note, and the header is kept")
    func headers() {
        for lost in ["Message-ID: <\(String(repeating: "x", count: 400))@x.test>", "Date: the day before", "Message-ID: no id"] {
            #expect(Self.read(lost).notes.map(\.isOfHeader) == [true], "\(lost)")
        }
        for usual in ["Message-ID: <a@x.test>", "Message-ID:", "Date: Tue, 24 Nov 2026 10:00:00 +0100", "Date:", "X-Other: y"] {
            #expect(Self.read(usual).notes.isEmpty, "\(usual)")
        }
    }

    @Test("A text attachment keeps the parameters that a reader needs, such as charset and method")
    func types() {
        let message = Self.multipart(
            "mixed",
            [
                ("text/plain", "words"), ("text/calendar; method=REQUEST; charset=\"utf-8\"", "BEGIN:VCALENDAR"),
                ("text/csv; charset=\"a b\"", "x"),
                ("application/pdf; charset=utf-8", "PDF"),
            ])
        #expect(message.attachments.map(\.type) == ["text/calendar; charset=utf-8; method=REQUEST", "text/csv", "application/pdf"])
        for file in message.attachments { #expect(MediaType(file.type) != nil) }
    }

    @Test("A text is cut between characters, and only a character with very many marks is split")
    func cut() {
        let marks = "a" + String(repeating: "\u{301}", count: 1_000)
        #expect(marks.prefix(units: 200).utf16.count == 200)
        #expect("ab👩‍👩‍👧‍👦".prefix(units: 5) == "ab" && "👩‍👩‍👧‍👦".prefix(units: 5).utf16.count == 5)
        #expect("abc".prefix(units: 3) == "abc" && "abc".prefix(units: 0) == "" && "a🎂".prefix(units: 2) == "a")
        let name = MailMessage(
            Array("Content-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"\(marks).pdf\"\r\n\r\n".utf8))
        #expect(name.attachments.first.map { $0.name.utf16.count == 255 && $0.name.hasSuffix(".pdf") } == true)
    }
}
