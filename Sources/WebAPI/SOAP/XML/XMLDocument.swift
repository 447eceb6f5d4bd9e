/// An XML document as elements with names, attributes and text. The document has no mixed content: an element has elements or text.
///
/// The elements are in one array, each before its children. So an element needs few bytes.
final class XMLDocument: Sendable {
    struct Node: Sendable {
        var name: Int32
        /// The name in `xsi:type`; negative if there is none.
        var type: Int32 = -1
        var isNil = false
        /// The index after the last of its descendants.
        var end: Int32 = 0
        var text: Range<Int32> = 0..<0
        var attributes: Range<Int32> = 0..<0
    }

    /// An attribute, except declarations of namespaces, `xsi:type` and `xsi:nil`.
    struct Attribute: Sendable {
        let name: Int32
        let text: Range<Int32>
    }

    let nodes: [Node]
    let names: [XMLName]
    let attributes: [Attribute]
    /// The text of all elements and attributes.
    let text: [UInt8]

    init(nodes: [Node], names: [XMLName], attributes: [Attribute], text: [UInt8]) {
        self.nodes = nodes
        self.names = names
        self.attributes = attributes
        self.text = text
    }

    var root: XMLElement { XMLElement(document: self, index: 0) }

    func string(_ range: Range<Int32>) -> String {
        String(decoding: text[Int(range.lowerBound)..<Int(range.upperBound)], as: UTF8.self)
    }
}
