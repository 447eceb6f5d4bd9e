import Foundation
import Model

/// The elements and attributes of FetchXML's schema that are supported, and those that have no effect in this service.
///
/// Every other element or attribute is refused by name before the query is parsed.
enum FetchNames {
    /// Supported attributes, by element.
    static let supported: [String: Set<String>] = [
        "fetch": [
            "aggregate", "count", "distinct", "mapping", "page", "paging-cookie", "returntotalrecordcount", "top", "useraworderby",
        ],
        "entity": ["name"],
        "all-attributes": [],
        "no-attrs": [],
        "attribute": ["aggregate", "alias", "dategrouping", "distinct", "groupby", "name", "usertimezone"],
        "order": ["alias", "attribute", "descending", "entityname"],
        "filter": ["type"],
        "link-entity": ["alias", "from", "link-type", "name", "to"],
        "condition": ["attribute", "entityname", "operator", "value", "valueof"],
        "value": [],
    ]
    /// Attributes without an effect, each with the reason.
    static let harmless: [String: [String: String]] = [
        "fetch": [
            "version": "there is one version",
            "output-format": "the response is JSON",
            // The client datapyrse spells `output-format` in this way.
            "outputformat": "the response is JSON",
            "no-lock": "reads take no locks",
            "latematerialize": "it is a hint",
            "options": "they are hints",
            "savedqueryid": "a view's id, beside its whole query",
        ],
        "entity": [
            "enableprefiltering": "it is for reports",
            "prefilterparametername": "it is for reports",
        ],
        "attribute": ["build": "it is for internal use", "addedby": "a designer's note"],
        "filter": [
            "hint": "it is a hint",
            "isquickfindfields": "a designer's note",
            "overridequickfindrecordlimitenabled": "there is no limit of quick finds",
            "overridequickfindrecordlimitdisabled": "there is no limit of quick finds",
        ],
        "link-entity": [
            "intersect": "a designer's note",
            "visible": "a designer's note",
            "enableprefiltering": "it is for reports",
            "prefilterparametername": "it is for reports",
        ],
        "condition": ["uiname": "a designer's note", "uitype": "a designer's note", "uihidden": "a designer's note"],
        "value": ["uiname": "a designer's note", "uitype": "a designer's note"],
    ]
    /// The elements that an element may contain.
    private static let children: [String: Set<String>] = [
        "fetch": ["entity"],
        "entity": ["all-attributes", "attribute", "filter", "link-entity", "no-attrs", "order"],
        "link-entity": ["all-attributes", "attribute", "filter", "link-entity", "no-attrs", "order"],
        "filter": ["condition", "filter", "link-entity"],
        "condition": ["value"],
    ]

    /// - Throws: ``FieldsealError`` `.queryDoesNotFit` naming the element or attribute that is not supported.
    static func check(_ element: XMLTree) throws(FieldsealError) {
        let name = element.name
        guard let attributes = supported[name] else {
            throw FieldsealError(.queryDoesNotFit, "FetchXML has no element <\(name.prefix(50))>.")
        }
        for attribute in element.attributes.keys.sorted() where !attributes.contains(attribute) {
            guard harmless[name]?[attribute] == nil else { continue }
            throw FieldsealError(
                .queryDoesNotFit,
                "The attribute \(attribute.prefix(50)) of <\(name)> is not supported. Send the query without it.")
        }
        let isText = name == "value"
        guard isText || element.text.allSatisfy(\.isWhitespace) else {
            throw FieldsealError(.queryDoesNotFit, "<\(name)> holds text, and takes none.")
        }
        for child in element.children {
            guard children[name]?.contains(child.name) ?? false else {
                throw FieldsealError(.queryDoesNotFit, "<\(name)> takes no element <\(child.name.prefix(50))>.")
            }
            try check(child)
        }
    }
}

extension XMLTree {
    /// A boolean attribute in XML Schema's notation (`xs:boolean`), in upper or lower case; false if it is missing.
    ///
    /// - Throws: ``FieldsealError`` `.queryDoesNotFit` for anything else.
    func flag(_ attribute: String) throws(FieldsealError) -> Bool {
        switch self[attribute]?.trimmed.lowercased() {
        case nil, "false", "0": return false
        case "true", "1": return true
        default:
            throw FieldsealError(.queryDoesNotFit, "\(attribute) of <\(name)> takes true, false, 1 or 0.")
        }
    }

    /// An attribute that accepts one of several words, in upper or lower case.
    func choice(_ attribute: String, _ words: [String]) throws(FieldsealError) -> String? {
        guard let text = self[attribute]?.trimmed.lowercased() else { return nil }
        guard words.contains(text) else {
            throw FieldsealError(
                .queryDoesNotFit, "\(attribute) of <\(name)> takes \(words.joined(separator: ", ")), and not '\(text.prefix(50))'.")
        }
        return text
    }
}
