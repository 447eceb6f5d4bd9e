import Testing

@testable import MailFormat

@Suite("Display names of addresses")
struct AddressNamesTests {
    private static func message(_ from: String) -> MailMessage {
        MailMessage(Array("From: \(from)\r\nTo: support@contoso.test\r\n\r\nText\r\n".utf8))
    }

    @Test(
        "The display name is decoded, and has no quotes and comments around it",
        arguments: [
            ("Mia Kunde <a@b.test>", "Mia Kunde"), ("\"Doe, John\" <a@b.test>", "Doe, John"),
            ("\"Acme \\\"The Best\\\" Co\" <a@b.test>", "Acme \"The Best\" Co"), ("'John' <a@b.test>", "John"),
            ("=?utf-8?Q?Doe=2C_J=C3=B6hn?= <a@b.test>", "Doe, Jöhn"), ("\"=?utf-8?B?5bGx55Sw?=\" <a@b.test>", "山田"),
            ("=?utf-8?B?5bGx?= =?utf-8?B?55Sw?= <a@b.test>", "山田"), ("Иван Петров <a@b.test>", "Иван Петров"),
            ("a@b.test (Mia Kunde)", "Mia Kunde"), ("<a@b.test> (Mia Kunde)", "Mia Kunde"),
            ("Mia\r\n Kunde <A@B.test>", "Mia Kunde"),
        ])
    func names(from: String, name: String) {
        let message = Self.message(from)
        #expect(message.from.lowercased() == "a@b.test")
        #expect(message.names.from == name)
    }

    @Test(
        "A display name that only repeats the address is ignored",
        arguments: ["a@b.test", "<a@b.test>", "\"a@b.test\" <a@b.test>", "A@B.test <a@b.test>"])
    func none(from: String) { #expect(Self.message(from).names == .init(from: nil, to: [nil], cc: [])) }

    @Test("Each recipient has its own display name, and a long name is cut to 160 characters")
    func recipients() {
        let header =
            "From: x@y.test\r\nTo: One <1@a.test>, 2@a.test,\r\n \"Three, T.\" <3@a.test>\r\nCc: \(String(repeating: "n", count: 500)) <4@a.test>"
        let message = MailMessage(Array("\(header)\r\n\r\nText\r\n".utf8))
        #expect(message.names == .init(to: ["One", nil, "Three, T."], cc: [String(repeating: "n", count: 160)]))
    }

    @Test("If an address occurs several times, each occurrence keeps its own display name")
    func places() {
        let header = "From: Alice <a@x.test>\r\nTo: Bob <a@x.test>, B <A@x.test>\r\nCc: a@x.test\r\nCc: Cy <a@x.test>"
        let message = MailMessage(Array("\(header)\r\n\r\nText\r\n".utf8))
        #expect(message.to == ["a@x.test", "A@x.test"] && message.cc == ["a@x.test", "a@x.test"])
        #expect(message.names == .init(from: "Alice", to: ["Bob", "B"], cc: [nil, "Cy"]))
    }

    @Test("An attached picture keeps the Content-ID by which the HTML refers to it")
    func contentID() {
        let message = MailMessage(
            Array(
                """
                From: a@b.test\r
                Content-Type: multipart/related; boundary=b\r
                \r
                --b\r
                Content-Type: text/html\r
                \r
                <p>Look <img src="cid:image001.png@01DC.ABC"></p>\r
                --b\r
                Content-Type: image/png; name=photo.png\r
                Content-ID: <image001.png@01DC.ABC>\r
                \r
                x\r
                --b--\r

                """.utf8))
        #expect(message.attachments.map(\.contentID) == ["image001.png@01DC.ABC"])
    }
}
