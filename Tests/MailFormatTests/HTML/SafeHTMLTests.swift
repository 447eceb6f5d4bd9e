import Foundation
import MailFormat
import Testing

@Suite struct SafeHTMLTests {
    @Test(
        "Layout, texts, links and embedded pictures of a message are kept",
        arguments: [
            "<p style=\"color: red\">Grüße &amp; Küsse</p>",
            "<table bgcolor=\"#fff\" width=\"600\"><tr><td align=\"center\">x</td></tr></table>",
            "<img alt=\"logo\" src=\"data:image/png;base64,AAAA\">", "<style>p{margin:0}</style><p class=\"a\">x</p>", "a<br>b",
            "1 &lt; 2",
            "<blockquote type=\"cite\">earlier</blockquote>",
        ])
    func stays(html: String) {
        #expect(SafeHTML.rewritten(html) == html)
    }

    @Test(
        "Markup that loads from a server, runs code or opens a frame is left out, and its text is kept",
        arguments: [
            ("<link rel=preconnect href=http://evil.test/>x", "x"), ("<iframe src=http://evil.test/>x</iframe>", "x"),
            ("<base href=http://evil.test/><meta http-equiv=refresh content='0;url=http://evil.test'>x", "x"),
            ("<object data=http://evil.test/>shown without it</object>", "shown without it"), ("<script>alert(1)</script>x", "x"),
            ("<img src=http://evil.test/x.png alt=picture>", "<img alt=\"picture\">"),
            ("<svg><image href=http://evil.test/></svg>x", "x"),
            ("<p style='background:u\\72l(http://evil.test)'>x</p>", "<p>x</p>"),
            ("<p style='background:URL(//evil.test)'>x</p>", "<p>x</p>"),
            ("<p onclick=alert(1) dir=rtl>x</p>", "<p dir=\"rtl\">x</p>"),
            ("<a href=' https://x.test'>x</a>", "<a rel=\"noopener noreferrer\">x</a>"),
            ("<a href=https://x.test>x</a>", "<a href=\"https://x.test\" rel=\"noopener noreferrer\">x</a>"),
            ("<a href=javascript:alert(1)>x</a>", "<a rel=\"noopener noreferrer\">x</a>"),
            ("<a href='jav&#97;script:alert(1)'>x</a>", "<a rel=\"noopener noreferrer\">x</a>"),
            ("<form action=/sign-out><input value=y><button>x</button></form>", "x"), ("a < b", "a &lt; b"),
            // Markup that two browsers could parse differently becomes text.
            ("<p title=\"a>b<img src=x\">x</p>", "<p title=\"a&gt;\">b<img>x</p>"),
            ("<style><!--</style><img src=http://evil.test>", "<style></style><img>"),
            ("<noscript><p title=\"</noscript><link rel=preconnect href=//evil.test>\">", "<p title=\"&lt;/noscript&gt;\">\"&gt;"),
            ("<p title=\"&quot;><link rel=preconnect>\">x", "<p title=\"&quot;&gt;\">\"&gt;x"),
            ("<svg><style><link></style></svg>", "<style></style>"),
            ("<textarea><link rel=preconnect></textarea>", "&lt;link rel=preconnect&gt;"),
            ("<!--><link rel=preconnect>-->x", "--&gt;x"),
        ])
    func isLeftOut(html: String, safe: String) {
        #expect(SafeHTML.rewritten(html) == safe)
    }

    @Test("Random HTML is rewritten so that only allowed elements and attributes remain")
    func anything() {
        var generator = SystemRandomNumberGenerator()
        let pieces = [
            "<", ">", "</", "\"", "'", "=", "<!--", "-->", "--!>", "<link", "<iframe", "<img", "<p ", "<style>", "</style>",
            "<script>", "</script>", " src",
            " rel=preconnect", " href", "http://evil.test/", "data:image/", "/", "&lt;", "\0", "\u{301}", "<textarea>",
            "</textarea>", "x", " ", "<svg>", "<![CDATA[", "]]>",
        ]
        for _ in 0..<50_000 {
            let html = (0..<Int.random(in: 1...14, using: &generator)).map { _ in pieces.randomElement(using: &generator) ?? "" }
                .joined()
            let safe = SafeHTML.rewritten(html).lowercased()
            for forbidden in ["<link", "<iframe", "<script", "<svg", "<!", "<textarea", "<base", "<meta"] {
                #expect(!safe.contains(forbidden), "\(html.debugDescription) is \(safe.debugDescription)")
            }
            // In the result, a tag ends at the first `>`, and an address occurs only in a link's tag.
            for part in safe.utf8.split(separator: UInt8(ascii: "<")).dropFirst() {
                let tag = String(decoding: part.prefix { $0 != UInt8(ascii: ">") }, as: UTF8.self)
                #expect(
                    !tag.contains("src=\"") || tag.contains("src=\"data:image/"),
                    "\(html.debugDescription) is \(safe.debugDescription)")
            }
        }
    }
}
