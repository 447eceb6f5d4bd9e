import Foundation
import FoundationXML
import Model

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
        guard !declaresType(text) else {
            // A document type brings entities along, which this service has no use for.
            throw FieldsealError(.queryDoesNotFit, "FetchXML has no document type.")
        }
        let builder = Builder()
        let parser = XMLParser(data: Data(withoutDeclaration(text).utf8))
        parser.shouldResolveExternalEntities = false
        parser.delegate = builder
        guard parser.parse(), let root = builder.root, !builder.isTooDeep else {
            throw FieldsealError(.queryDoesNotFit, "FetchXML is malformed at line \(parser.lineNumber), or nested too deep.")
        }
        return root
    }

    /// Whether there is a declaration outside of comments and CDATA sections.
    private static func declaresType(_ text: String) -> Bool {
        var rest = text[...]
        while let mark = rest.firstRange(of: "<!") {
            rest = rest[mark.lowerBound...]
            let end = rest.hasPrefix("<!--") ? "-->" : rest.hasPrefix("<![CDATA[") ? "]]>" : nil
            guard let end, let close = rest.dropFirst(4).firstRange(of: end) else { return true }
            rest = rest[close.upperBound...]
        }
        return false
    }

    /// The text without its byte order mark and XML declaration: it was decoded already, and the declared encoding no longer applies.
    private static func withoutDeclaration(_ text: String) -> Substring {
        var rest = text.drop { $0 == "\u{FEFF}" || $0.isWhitespace }
        if rest.hasPrefix("<?xml"), rest.dropFirst(5).first?.isWhitespace ?? false, let end = rest.firstRange(of: "?>") {
            rest = rest[end.upperBound...]
        }
        return rest
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

        func parser(_ parser: XMLParser, foundCDATA block: Data) {
            guard !stack.isEmpty else { return }
            stack[stack.count - 1].text += String(decoding: block, as: UTF8.self)
        }

        func parser(_ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?) {
            guard let element = stack.popLast() else { return }
            if stack.isEmpty { root = element } else { stack[stack.count - 1].children.append(element) }
        }
    }
}
