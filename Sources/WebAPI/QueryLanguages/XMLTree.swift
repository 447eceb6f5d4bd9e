import Foundation
import Model

/// An element of a FetchXML query.
struct XMLTree: Sendable {
    let name: String
    let attributes: [String: String]
    let children: [XMLTree]
    let text: String

    subscript(_ attribute: String) -> String? { attributes[attribute] }

    func all(_ name: String) -> [XMLTree] { children.filter { $0.name == name } }

    /// How deeply elements are nested at most.
    private static let depthLimit = 30
    /// How many elements a query has at most. A condition with ``APILimits/valueCount`` values has to fit.
    private static let elementLimit = 4_000

    /// - Throws: ``FieldsealError`` `.queryDoesNotFit` for text that is not XML, that has a document type or a namespace, or that
    ///   is too large.
    static func parse(_ text: String) throws(FieldsealError) -> XMLTree {
        let document: XMLDocument
        do {
            document = try XMLReader.read(Array(withoutDeclaration(text).utf8), charset: "utf-8")
        } catch {
            throw FieldsealError(.queryDoesNotFit, "FetchXML is malformed: \(error).")
        }
        guard document.nodes.count <= elementLimit else {
            throw FieldsealError(.queryDoesNotFit, "FetchXML has more than \(elementLimit) elements.")
        }
        return try XMLTree(document.root, depth: 1)
    }

    private init(_ element: XMLElement, depth: Int) throws(FieldsealError) {
        guard depth <= Self.depthLimit else {
            throw FieldsealError(.queryDoesNotFit, "FetchXML is nested too deep, in more than \(Self.depthLimit) elements.")
        }
        guard element.name.namespace.isEmpty, element.type == nil, !element.isNil else {
            throw FieldsealError(.queryDoesNotFit, "FetchXML has no namespace, and <\(element.local.prefix(50))> has one.")
        }
        name = element.local
        text = element.text
        var attributes: [String: String] = [:]
        for (attribute, value) in element.attributes {
            guard attribute.namespace.isEmpty else {
                throw FieldsealError(
                    .queryDoesNotFit, "The attribute \(attribute.local.prefix(50)) of <\(name)> has a namespace. FetchXML has none."
                )
            }
            attributes[attribute.local] = value
        }
        self.attributes = attributes
        var children: [XMLTree] = []
        for child in element.children { children.append(try XMLTree(child, depth: depth + 1)) }
        self.children = children
    }

    /// The text without its byte order mark and XML declaration. The text is decoded already, so the declared encoding no longer
    /// applies.
    private static func withoutDeclaration(_ text: String) -> Substring {
        var rest = text.drop { $0 == "\u{FEFF}" || $0.isWhitespace }
        if rest.hasPrefix("<?xml"), rest.dropFirst(5).first?.isWhitespace ?? false, let end = rest.firstRange(of: "?>") {
            rest = rest[end.upperBound...]
        }
        return rest
    }
}
