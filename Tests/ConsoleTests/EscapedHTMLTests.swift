import Testing

@testable import Console

@Suite struct EscapedHTMLTests {
    @Test(
        "An HTML sign such as `<` is escaped even if a combining mark joins it to one Swift character",
        arguments: [
            ("<b>", "&lt;b&gt;"), ("\u{0600}<b>", "\u{0600}&lt;b&gt;"), ("\"\u{0301} x", "&quot;\u{0301} x"),
            ("'\u{200D}", "&#39;\u{200D}"),
            ("<\u{0338}", "&lt;\u{0338}"), ("&\u{0301}lt;", "&amp;\u{0301}lt;"), ("Grüße", "Grüße"),
        ])
    func escapes(text: String, html: String) {
        #expect(EscapedHTML().escapeText(text) == html)
    }
}
