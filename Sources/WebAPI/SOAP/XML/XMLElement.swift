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
    /// The text as a boolean of XML Schema; nil for any other text.
    var bool: Bool? {
        XMLCharacter.boolean(XMLCharacter.trimmed(document.text[Int(node.text.lowerBound)..<Int(node.text.upperBound)]))
    }
    var isEmpty: Bool { node.text.isEmpty && !hasChildren }
    var hasChildren: Bool { Int(node.end) > index + 1 }

    var children: XMLChildren { XMLChildren(document: document, position: index + 1, end: Int(node.end)) }

    func first(_ local: String) -> XMLElement? { children.first { $0.local == local } }

    /// The names and values of the element's attributes in order.
    var attributes: [(name: XMLName, text: String)] {
        document.attributes[Int(node.attributes.lowerBound)..<Int(node.attributes.upperBound)].map {
            (document.names[Int($0.name)], document.string($0.text))
        }
    }

    func attribute(_ local: String, in namespace: String = "") -> String? {
        let name = XMLName(namespace, local)
        for attribute in document.attributes[Int(node.attributes.lowerBound)..<Int(node.attributes.upperBound)]
        where document.names[Int(attribute.name)] == name {
            return document.string(attribute.text)
        }
        return nil
    }
}
