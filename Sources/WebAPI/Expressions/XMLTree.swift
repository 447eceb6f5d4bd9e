import Fieldseal
import Foundation
import FoundationXML

/// An element of an XML document, without name spaces.
struct XMLTree: Sendable {
    let name: String
    let attributes: [String: String]
    var children: [XMLTree] = []
    var text = ""

    subscript(_ attribute: String) -> String? { attributes[attribute] }

    func all(_ name: String) -> [XMLTree] { children.filter { $0.name == name } }

    /// - Throws: ``FieldsealError`` `.queryDoesNotFit` for what is no XML, declares a document type, or is nested too deep.
    static func parse(_ text: String) throws(FieldsealError) -> XMLTree {
        // A document type brings entities along, which this service has no use for.
        guard !text.contains("<!") else {
            throw FieldsealError(.queryDoesNotFit, "FetchXML has no document type, no comments and no CDATA sections.")
        }
        let builder = Builder()
        let parser = XMLParser(data: Data(text.utf8))
        parser.shouldResolveExternalEntities = false
        parser.delegate = builder
        guard parser.parse(), let root = builder.root, !builder.isTooDeep else {
            throw FieldsealError(.queryDoesNotFit, "FetchXML is malformed at line \(parser.lineNumber), or nested too deep.")
        }
        return root
    }

    private final class Builder: NSObject, XMLParserDelegate {
        var root: XMLTree?
        var isTooDeep = false
        private var stack: [XMLTree] = []
        private var count = 0

        func parser(
            _ parser: XMLParser,
            didStartElement name: String,
            namespaceURI: String?,
            qualifiedName: String?,
            attributes: [String: String]
        ) {
            count += 1
            if stack.count >= 30 || count > 2_000 {
                isTooDeep = true
                parser.abortParsing()
                return
            }
            stack.append(XMLTree(name: name, attributes: attributes))
        }

        func parser(_ parser: XMLParser, foundCharacters string: String) {
            guard !stack.isEmpty else { return }
            stack[stack.count - 1].text += string
        }

        func parser(_ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?) {
            guard let element = stack.popLast() else { return }
            if stack.isEmpty { root = element } else { stack[stack.count - 1].children.append(element) }
        }
    }
}
