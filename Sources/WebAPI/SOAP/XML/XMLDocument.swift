/// An XML document as elements with names, attributes and text. It has no mixed content: an element has elements or text.
///
/// The elements are in one array, each before its children, so that each needs few bytes.
final class XMLDocument: Sendable {
    /// One element.
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

/// An element of an ``XMLDocument``.
struct XMLElement: Sendable {
    let document: XMLDocument
    let index: Int

    private var node: XMLDocument.Node { document.nodes[index] }

    var name: XMLName { document.names[Int(node.name)] }
    var local: String { name.local }
    /// The name in `xsi:type`.
    var type: XMLName? { node.type < 0 ? nil : document.names[Int(node.type)] }
    /// Whether `xsi:nil` is true.
    var isNil: Bool { node.isNil }
    var text: String { document.string(node.text) }
    var isEmpty: Bool { node.text.isEmpty && !hasChildren }
    var hasChildren: Bool { Int(node.end) > index + 1 }

    /// Its child elements in order.
    var children: XMLChildren { XMLChildren(document: document, position: index + 1, end: Int(node.end)) }

    /// Its first child element with a name.
    func first(_ local: String) -> XMLElement? { children.first { $0.local == local } }

    /// The names and values of its attributes in order.
    var attributes: [(name: XMLName, text: String)] {
        document.attributes[Int(node.attributes.lowerBound)..<Int(node.attributes.upperBound)].map {
            (document.names[Int($0.name)], document.string($0.text))
        }
    }

    /// The value of an attribute.
    func attribute(_ local: String, in namespace: String = "") -> String? {
        let name = XMLName(namespace, local)
        for attribute in document.attributes[Int(node.attributes.lowerBound)..<Int(node.attributes.upperBound)]
        where document.names[Int(attribute.name)] == name {
            return document.string(attribute.text)
        }
        return nil
    }
}

/// The child elements of an element.
struct XMLChildren: Sequence, IteratorProtocol {
    let document: XMLDocument
    fileprivate var position: Int
    fileprivate let end: Int

    mutating func next() -> XMLElement? {
        guard position < end else { return nil }
        defer { position = Int(document.nodes[position].end) }
        return XMLElement(document: document, index: position)
    }
}

extension XMLChildren {
    /// No elements.
    static var empty: XMLChildren {
        XMLChildren(document: XMLDocument(nodes: [], names: [], attributes: [], text: []), position: 0, end: 0)
    }
}
