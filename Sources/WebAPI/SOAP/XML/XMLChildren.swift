/// The child elements of an element.
struct XMLChildren: Sequence, IteratorProtocol {
    let document: XMLDocument
    var position: Int
    let end: Int

    mutating func next() -> XMLElement? {
        guard position < end else { return nil }
        defer { position = Int(document.nodes[position].end) }
        return XMLElement(document: document, index: position)
    }
}

extension XMLChildren {
    static var empty: XMLChildren {
        XMLChildren(document: XMLDocument(nodes: [], names: [], attributes: [], text: []), position: 0, end: 0)
    }
}
