import Testing

@testable import Console

@Suite("The text of an e-mail")
struct MailTextTests {
    @Test("Plain text stays as it is, without carriage returns")
    func plain() {
        #expect(MailText("a < b\r\n\r\n> c", isHTML: false).text == "a < b\n\n> c")
        #expect(MailText("<p>a &lt; b</p>", isHTML: true).text == "a < b")
    }

    @Test("A few lines without pictures or tables are short")
    func short() {
        #expect(MailText("<p>Hello</p>", isHTML: true).isShort)
        #expect(MailText("one\ntwo", isHTML: false).isShort)
        #expect(!MailText("<p>Hello</p><img src=\"x\">", isHTML: true).isShort)
        #expect(!MailText("<table><tr><td>Hello</td></tr></table>", isHTML: true).isShort)
        #expect(!MailText(String(repeating: "word ", count: 100), isHTML: true).isShort)
        #expect(!MailText(String(repeating: "x\n", count: 20), isHTML: false).isShort)
    }
}
