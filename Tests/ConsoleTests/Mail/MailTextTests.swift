import Testing

@testable import Console

@Suite("The text of an e-mail")
struct MailTextTests {
    @Test(
        "Markup is left out, and blocks are lines",
        arguments: [
            ("<p>Hello,</p><p>It <b>did</b>\n arrive.</p>", "Hello,\nIt did arrive."),
            ("one<br>two<BR/>three", "one\ntwo\nthree"),
            ("<html><head><title>x</title><style>p > a { }</style></head><body>seen<!-- not > seen --></body></html>", "seen"),
            ("<script>if (a < b) { }</script>after", "after"),
            ("a &lt;b&gt; &amp; &quot;c&quot; &#252;&#xFC;&nbsp;d &unknown; &", "a <b> & \"c\" üü d &unknown; &"),
            ("&amp;lt;", "&lt;"), ("&#0;&#10;&#x110000;", "&#0;&#10;&#x110000;"),
            ("<style>never closed", ""), ("cut <off", "cut"), ("", ""), ("<ul><li>a</li><li>b</li></ul>", "a\nb"),
        ])
    func markup(_ html: String, _ text: String) {
        #expect(MailText(html, isHTML: true).text == text)
    }

    @Test("Plain text stays as it is, without carriage returns")
    func plain() {
        #expect(MailText("a < b\r\n\r\n> c", isHTML: false).text == "a < b\n\n> c")
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
