import Foundation
import Testing

@testable import WebAPI

@Suite("The XML reader")
struct XMLReaderTests {
    private func read(_ text: String) throws -> XMLElement { try XMLReader.read(Array(text.utf8)).root }

    @Test("Names are resolved by the namespace declarations that are in scope")
    func namespaces() throws {
        let root = try read(
            "<a xmlns='u' xmlns:p='v' p:x='1' x='2'><p:b xmlns:p='w'/><b xmlns=''/><c xmlns:i='http://www.w3.org/2001/XMLSchema-instance' i:type='p:t' i:nil='1'/></a>"
        )
        #expect(root.name == XMLName("u", "a"))
        #expect(root.attribute("x", in: "v") == "1" && root.attribute("x") == "2")
        #expect(root.children.map(\.name) == [XMLName("w", "b"), XMLName("", "b"), XMLName("u", "c")])
        #expect(root.first("c")?.type == XMLName("v", "t") && root.first("c")?.isNil == true)
    }

    @Test("Text around comments, CDATA and references is joined, and white space between elements is ignored")
    func text() throws {
        let root = try read("<a> <b>x<!-- - -->y<![CDATA[<&>]]>&lt;&#x1F600;\r\nz\r</b>\n<c/> </a>")
        #expect(root.first("b")?.text == "xy<&><😀\nz\n")
        #expect(root.first("c")?.isEmpty == true && root.text.isEmpty)
    }

    @Test("A reference to a character that XML allows is decoded, and any other reference is refused")
    func references() throws {
        #expect(try read("<a b='&quot;&apos;&#9;'>&amp;&lt;&gt;&#65;&#x42;&#00000000067;&#xFFFD;</a>").text == "&<>ABC\u{FFFD}")
        #expect(try read("<a b='&quot;&apos;&#x2013;'/>").attribute("b") == "\"'–")
        for name in [
            "nbsp", "", "#", "#x", "#0", "#8", "#xD800", "#xFFFE", "#x110000", "#+65", "#-1", "#x+41", "#X41", "#4A", "#4294967361",
            "amp",
        ] {
            let end = name == "amp" ? " " : ";"
            #expect(throws: XMLSyntaxError.self, "\(name)") { try read("<a>&\(name)\(end)</a>") }
        }
    }

    @Test("A million references are read in linear time")
    func manyReferences() throws {
        let text = String(repeating: "&#8211;", count: 1_000_000)
        #expect(try read("<a>\(text)</a>").text.unicodeScalars.count == 1_000_000)
    }

    @Test("A reserved, duplicate or malformed namespace declaration is refused")
    func prefixes() throws {
        #expect(try read("<a xml:lang='de'/>").attribute("lang", in: XMLNamespace.xml) == "de")
        #expect(try read("<a xmlns:xml='\(XMLNamespace.xml)' xml:x='1'/>").attribute("x", in: XMLNamespace.xml) == "1")
        let declarations = [
            "xmlns:xml='u'", "xmlns:p='\(XMLNamespace.xml)'", "xmlns='\(XMLNamespace.xml)'", "xmlns:xmlns='u'", "xmlns:p=''",
            "xmlns:p='\(XMLNamespace.declarations)'", "xmlns='\(XMLNamespace.declarations)'", "xmlns:p='u' xmlns:p='v'",
            "xmlns='u' xmlns='v'", "xmlns:='u'", "xmlns:p:q='u'", "xmlns:p='u' xmlns:q='u' p:x='' q:x=''", "p:x=''",
            "xmlns:p='u' p:=''",
        ]
        for declaration in declarations {
            #expect(throws: XMLSyntaxError.self, "\(declaration)") { try read("<a \(declaration)/>") }
        }
        // An inner element may declare a prefix again. The declaration is valid until the end of that element.
        #expect(try read("<p:a xmlns:p='u'><p:b xmlns:p='v'/><p:c/></p:a>").children.map(\.name.namespace) == ["v", "u"])
    }

    @Test("The values of xsi:type and xsi:nil are read without white space around them, and invalid values are refused")
    func instance() throws {
        let declarations = "xmlns:i='\(XMLNamespace.instance)' xmlns:t='u'"
        let root = try read("<a \(declarations) i:type=' t:b&#10;' i:nil=' false '/>")
        #expect(root.type == XMLName("u", "b") && !root.isNil)
        for attribute in ["i:type=''", "i:type='x:b'", "i:type='t:'", "i:nil=''", "i:nil='True'", "i:nil='1 1'"] {
            #expect(throws: XMLSyntaxError.self, "\(attribute)") { try read("<a \(declarations) \(attribute)/>") }
        }
        #expect(throws: XMLSyntaxError.self) { try read("<a \(declarations) i:nil='1'>x</a>") }
    }

    @Test("Equal local names in many namespaces are different names", arguments: [3, 24, 25, 200])
    func manyNames(count: Int) throws {
        let children = (0..<count).map { "<n\($0 % 7) xmlns='urn:\($0)'/><n\($0)/>" }.joined()
        let names = try read("<a>\(children)\(children)</a>").children.map(\.name)
        let expected = (0..<count).flatMap { [XMLName("urn:\($0)", "n\($0 % 7)"), XMLName("", "n\($0)")] }
        #expect(names == expected + expected)
    }

    /// Documents that each exceed one limit.
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

    @Test("A document that exceeds a limit is refused", arguments: 0..<5)
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

    @Test("Random bytes are read or refused without a crash")
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
