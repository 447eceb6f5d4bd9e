import Foundation
import Testing

@testable import MailFormat

@Suite("HTML that is too large for a record")
struct LargeHTMLTests {
    private static let picture = Data(repeating: 7, count: 30_000).base64EncodedString()

    @Test("HTML that fits into a record is not changed")
    func fits() {
        let html = "<p>a</p><img src=\"data:image/png;base64,\(Self.picture)\">"
        let large = LargeHTML(html, limit: html.utf8.count)
        #expect(large.text == html && large.pictures.isEmpty && !large.isCut)
    }

    @Test("Pictures inside of large HTML become attachments, and the text after them stays")
    func pictures() throws {
        let image = "<img alt='A \"bird\"' width=5 src='data:image/jpeg;base64,\(Self.picture)'>"
        let large = LargeHTML("<p>Dear team,</p>\(image)<p>Please call.</p>\(image)<!-- \(Self.picture) -->", limit: 10_000)
        let tag = "<img src=\"cid:picture-1@data.invalid\" alt=\"A &quot;bird&quot;\" width=\"5\">"
        #expect(large.text == "<p>Dear team,</p>\(tag)<p>Please call.</p>\(tag)")
        #expect(!large.isCut)
        let attached = try #require(large.pictures.first)
        #expect(large.pictures.count == 1 && attached.name == "picture-1.jpg" && attached.type == "image/jpeg")
        #expect(attached.contentID == "picture-1@data.invalid" && attached.bytes == [UInt8](repeating: 7, count: 30_000))
    }

    @Test(
        "A large element that is not a readable picture is left out, and the HTML is marked as cut",
        arguments: [
            "<img src='data:image/png;base64,!\(String(repeating: "!", count: 20_000))'>",
            "<img src='data:image/\(String(repeating: "x", count: 50));base64,\(picture)'>",
            // Character references and escapes in base64 would be decoded wrongly, so such a picture is left out.
            "<img src='data:image/png;base64,\(picture)&#43;AA'>", "<img src='data:image/png;base64,\(picture)%2BA'>",
            "<table background='data:image/png;base64,\(picture)'>", "<style>\(String(repeating: "p { } ", count: 20_000))</style>",
        ])
    func unreadable(_ element: String) {
        let large = LargeHTML("<p>a</p>\(element)<p>b</p>", limit: 10_000)
        #expect(large.isCut && large.pictures.isEmpty && large.text.utf8.count < 100)
        #expect(PlainText.of(html: large.text) == "a\nb")
    }

    @Test("Large HTML is cut between tags, and the rest follows as text without markup")
    func cut() {
        let rows = (0..<2_000).map { "<tr><td style='color: #123456; font-weight: 700'>row \($0) &amp; more</td></tr>" }.joined()
        let html = "<style>td { color: red }</style><div><table>\(rows)</table></div><p>The end.</p>"
        let large = LargeHTML(html, limit: 100_000)
        #expect(large.isCut && large.text.utf8.count <= 100_000)
        let text = PlainText.of(html: large.text)
        #expect(text.hasPrefix("row 0 & more\nrow 1 & more\n") && text.hasSuffix("The end."))
        #expect((0..<2_000).allSatisfy { text.contains("row \($0) &") })
        // The text without markup is after the end of the table.
        #expect(large.text.contains("</table></div><div style=\"white-space: pre-wrap\">"))
    }

    @Test(
        "HTML without tags, or with a tag that never ends, is cut to the limit too",
        arguments: ["word ", "ä&amp;", "<b>x", "<style>", "< ", "<!--"])
    func odd(_ piece: String) {
        let large = LargeHTML(String(repeating: piece, count: 50_000), limit: 20_000)
        #expect(large.text.utf8.count <= 20_000)
    }

    @Test(
        "An incomplete tag, comment or style at the end of HTML is removed",
        arguments: [
            ("<p>Dear team,</p><img src=\"data:image/png;base64,iVBOR", "<p>Dear team,</p>"), ("<p>a < b</p>", "<p>a < b</p>"),
            ("<p>a</p><style>p { colo", "<p>a</p>"), ("<p>a</p><!-- b", "<p>a</p>"), ("words", "words"),
        ])
    func withoutOpenEnd(_ html: String, _ whole: String) { #expect(LargeHTML.withoutOpenEnd(html) == whole) }
}
