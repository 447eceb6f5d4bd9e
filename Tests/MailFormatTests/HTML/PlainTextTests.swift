import Testing

@testable import MailFormat

@Suite("Converting HTML to plain text")
struct PlainTextTests {
    @Test(
        "Markup is left out, and each block is a separate line",
        arguments: [
            ("<p>Hello,</p><p>It <b>did</b>\n arrive.</p>", "Hello,\nIt did arrive."),
            ("one<br>two<BR/>three<br><br>five", "one\ntwo\nthree\n\nfive"),
            ("<html><head><title>x</title><style>p > a { }</style></head><body>seen<!-- not > seen --></body></html>", "seen"),
            ("<head><title>x</title><p>seen", "seen"), ("<script>if (a < b) { }</script>after", "after"),
            ("a &lt;b&gt; &amp; &quot;c&quot; &#252;&#xFC;&uuml;&nbsp;d &unknown; &", "a <b> & \"c\" üüü d &unknown; &"),
            ("&amp;lt;", "&lt;"), ("&#0;&#10;&#x110000;", "&#0;&#10;&#x110000;"), ("<img src=x>", ""),
            ("<img alt='A bird'>", "A bird"),
            ("<ul><li>a</li><li>b</li></ul>", "a\nb"), ("", ""),
        ])
    func markup(_ html: String, _ text: String) { #expect(PlainText.of(html: html) == text) }

    @Test(
        "The text in a tag or an element without an end is kept",
        arguments: [("<style>never closed", "never closed"), ("cut <off", "cut <off"), ("a < b and c > d", "a < b and c > d")])
    func open(_ html: String, _ text: String) { #expect(PlainText.of(html: html) == text) }

    @Test(
        "Lines of quoted blocks begin with `>`",
        arguments: [
            (
                "<p>New</p><blockquote>old<br>\n<br>\nolder<blockquote>oldest</blockquote></blockquote>end",
                "New\n> old\n>\n> older\n>> oldest\nend"
            ),
            ("</blockquote>a", "a"),
        ])
    func quotes(_ html: String, _ text: String) { #expect(PlainText.of(html: html) == text) }

    @Test(
        "Line ends and blanks are kept in `pre`, and in an element whose style keeps them",
        arguments: [
            ("<div style=\"white-space:pre-wrap\">a  b\r\n  c</div> d\ne", "a  b\n  c\nd e"),
            ("<pre>a\n\n<b>b</b></pre>c", "a\n\nb\nc"),
            ("<div style='white-space: pre-wrap'><div>a\nb</div>c\nd</div>e\nf", "a\nb\nc\nd\ne f"),
        ])
    func kept(_ html: String, _ text: String) { #expect(PlainText.of(html: html) == text) }

    @Test(
        "A link's address follows its text, unless the text is the address",
        arguments: [
            ("See <a href=\"https://example.org/a?b=1&amp;c=2\">the page</a>.", "See the page <https://example.org/a?b=1&c=2>."),
            ("<a href=\"https://example.org/\">example.org/</a>", "example.org/"),
            ("<a href=\"https://example.org/\"> HTTPS://example.org</a>", "HTTPS://example.org"), ("<a href='#top'>up</a>", "up"),
            ("<a href='javascript:x'>y</a>", "y"),
            ("<a href='http://a.test/x'>one <a href='http://a.test/y'>two</a>", "one <http://a.test/x>two <http://a.test/y>"),
        ])
    func links(_ html: String, _ text: String) { #expect(PlainText.of(html: html) == text) }

    @Test("Converting a long text without line ends takes linear time")
    func long() {
        func seconds(_ count: Int) -> Double {
            let html = String(repeating: "<a href=\"https://a.test/\">word &amp; word</a> <b>x", count: count)
            let time = ProcessorTime()
            #expect(!PlainText.of(html: html).isEmpty)
            return time.elapsed
        }
        _ = seconds(100)
        #expect(seconds(40_000) < 40 * max(seconds(4_000), 0.01))
    }

    @Test("Comparing a link's text with a similar address takes linear time")
    func resembling() {
        func seconds(_ count: Int) -> Double {
            let address = String(repeating: "a", count: count)
            let html = "<a href=\"http://\(address)b\">\(address)\(address)</a>"
            let time = ProcessorTime()
            #expect(PlainText.of(html: html).hasPrefix("aaa"))
            return time.elapsed
        }
        _ = seconds(100)
        #expect(seconds(400_000) < 40 * max(seconds(40_000), 0.01))
    }
}
