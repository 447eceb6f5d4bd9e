/// An XML document as elements with names, attributes and text. It has no mixed content: an element holds elements or text.
///
/// The elements stand in one array, each before those that it holds, so that a document takes few bytes for each of them.
final class XMLDocument: Sendable {
    /// One element.
    struct Node: Sendable {
        var name: Int32
        /// The name in `xsi:type`; negative if there is none.
        var type: Int32 = -1
        var isNil = false
        /// The index behind the last element that it holds.
        var end: Int32 = 0
        var text: Range<Int32> = 0..<0
        var attributes: Range<Int32> = 0..<0
    }

    /// One attribute that is not a declaration of a namespace, and neither `xsi:type` nor `xsi:nil`.
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
    /// What `xsi:type` names.
    var type: XMLName? { node.type < 0 ? nil : document.names[Int(node.type)] }
    /// Whether `xsi:nil` says that there is no value.
    var isNil: Bool { node.isNil }
    var text: String { document.string(node.text) }
    var isEmpty: Bool { node.text.isEmpty && !hasChildren }
    var hasChildren: Bool { Int(node.end) > index + 1 }

    /// The elements that it holds, in their order.
    var children: XMLChildren { XMLChildren(document: document, position: index + 1, end: Int(node.end)) }

    /// The first element of a name that it holds.
    func first(_ local: String) -> XMLElement? { children.first { $0.local == local } }

    /// The names and texts of its attributes, in their order.
    var attributes: [(name: XMLName, text: String)] {
        document.attributes[Int(node.attributes.lowerBound)..<Int(node.attributes.upperBound)].map {
            (document.names[Int($0.name)], document.string($0.text))
        }
    }

    /// The text of an attribute.
    func attribute(_ local: String, in namespace: String = "") -> String? {
        let name = XMLName(namespace, local)
        for attribute in document.attributes[Int(node.attributes.lowerBound)..<Int(node.attributes.upperBound)]
        where document.names[Int(attribute.name)] == name {
            return document.string(attribute.text)
        }
        return nil
    }
}

/// The elements that an element holds.
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
