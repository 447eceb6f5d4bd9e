import Testing

@testable import Console

@Suite("The text of an e-mail")
struct MailTextTests {
    @Test("Plain text loses only its carriage returns, and HTML becomes plain text")
    func plain() {
        #expect(MailText("a < b\r\n\r\n> c", isHTML: false).text == "a < b\n\n> c")
        #expect(MailText("<p>a &lt; b</p>", isHTML: true).text == "a < b")
    }

    @Test("A text of a few lines without pictures and tables gets a smaller frame than any other text")
    func frames() {
        #expect(MailText("<p>Hello</p>", isHTML: true).frame == "mail short")
        #expect(MailText("one\ntwo", isHTML: false).frame == "mail short")
        #expect(MailText("1\n2\n3\n4\n5\n6\n\n\n", isHTML: false).frame == "mail short")
        #expect(MailText("Hello,\n\nwhere is it?\nhttps://example.org\n\nRegards\nCarla\n", isHTML: false).frame == "mail brief")
        #expect(MailText("<p>Hello</p><img src=\"x\">", isHTML: true).frame == "mail")
        #expect(MailText("<table><tr><td>Hello</td></tr></table>", isHTML: true).frame == "mail")
        #expect(MailText(String(repeating: "word ", count: 100), isHTML: true).frame == "mail")
        #expect(MailText(String(repeating: "x\n", count: 20), isHTML: false).frame == "mail")
    }
}
