import Foundation
import Testing

@testable import WebAPI

@Suite("The XML reader")
struct XMLReaderTests {
    private func read(_ text: String) throws -> XMLElement { try XMLReader.read(Array(text.utf8)).root }

    @Test("Names are resolved by the namespaces that hold")
    func namespaces() throws {
        let root = try read(
            "<a xmlns='u' xmlns:p='v' p:x='1' x='2'><p:b xmlns:p='w'/><b xmlns=''/><c xmlns:i='http://www.w3.org/2001/XMLSchema-instance' i:type='p:t' i:nil='1'/></a>"
        )
        #expect(root.name == XMLName("u", "a"))
        #expect(root.attribute("x", in: "v") == "1" && root.attribute("x") == "2")
        #expect(root.children.map(\.name) == [XMLName("w", "b"), XMLName("", "b"), XMLName("u", "c")])
        #expect(root.first("c")?.type == XMLName("v", "t") && root.first("c")?.isNil == true)
    }

    @Test("Text is put together of its parts, and white space between elements is no text")
    func text() throws {
        let root = try read("<a> <b>x<!-- - -->y<![CDATA[<&>]]>&lt;&#x1F600;\r\nz\r</b>\n<c/> </a>")
        #expect(root.first("b")?.text == "xy<&><😀\nz\n")
        #expect(root.first("c")?.isEmpty == true && root.text.isEmpty)
    }

    /// Documents that are past one limit each.
    private static let pastLimits: [String] = {
        let depth = XMLReader.depthLimit + 1
        let attributes = (0...XMLReader.attributeLimit).map { "b\($0)=''" }.joined(separator: " ")
        let names = (0..<XMLReader.nameLimit).map { "<b\($0)/>" }.joined()
        return [
            String(repeating: "<a>", count: depth) + String(repeating: "</a>", count: depth),
            "<a>" + String(repeating: "<b/>", count: XMLReader.elementLimit) + "</a>",
            "<a \(attributes)/>",
            "<" + String(repeating: "a", count: XMLReader.nameLength + 1) + "/>",
            "<a>\(names)</a>",
        ]
    }()

    @Test("Each limit is one", arguments: 0..<5)
    func limits(number: Int) throws {
        #expect(throws: XMLSyntaxError.self) { try read(Self.pastLimits[number]) }
    }

    @Test("A document within the limits is read")
    func withinLimits() throws {
        let depth = XMLReader.depthLimit
        _ = try read(String(repeating: "<a>", count: depth) + String(repeating: "</a>", count: depth))
        let many = try read("<a>" + String(repeating: "<b/>", count: XMLReader.elementLimit - 1) + "</a>")
        #expect(many.children.reduce(0) { count, _ in count + 1 } == XMLReader.elementLimit - 1)
    }

    @Test("Any bytes are read or refused")
    func bytes() {
        var generator = SystemRandomNumberGenerator()
        let characters = Array("<a b='c'/>&#x;![CDATA]]>--?xmlns:\u{0}\u{FF}\u{10FFFF}".utf8)
        for _ in 0..<20_000 {
            let count = Int.random(in: 0..<60, using: &generator)
            let bytes = (0..<count).map { _ in characters.randomElement(using: &generator) ?? 0 }
            _ = try? XMLReader.read(bytes)
        }
    }
}
