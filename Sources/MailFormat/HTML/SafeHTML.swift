/// HTML of a message for the browser of its reader.
///
/// The HTML is written anew from allowed parts only, so it does not matter how a browser would have read the original. Nothing in
/// the written HTML makes a browser connect to another server. A policy (CSP) alone would not be enough: it stops requests, but not
/// connections that `link` or a frame opens in advance.
package enum SafeHTML {
    /// The allowed elements, texts and styles of the document. Elements that are not allowed are left out, and their texts stay.
    package static func rewritten(_ html: String) -> String {
        var result = ""
        var scanner = TagScanner(html)
        while let token = scanner.next() {
            switch token {
            case .tag(let name, let tag): result += element(name, tag)
            case .raw("style", let text): if !text.utf8.contains(UInt8(ascii: "<")) { result += text }
            case .raw("textarea", let text), .raw("xmp", let text): result += escaped(text)
            case .raw: break
            case .text(let text): result += escaped(text)
            // The `<` of a tag or a comment without an end is literal. The start tag of a raw element without an end is left out,
            // and its contents are displayed.
            case .open(let text): if text.utf8.count == 1 { result += "&lt;" }
            }
        }
        return result
    }

    private static func element(_ name: String, _ tag: Substring) -> String {
        if name.hasPrefix("/") { return allowed.contains(String(name.dropFirst())) && name != "/body" ? "<\(name)>" : "" }
        guard allowed.contains(name) else { return "" }
        let tag = HTMLTag(tag)
        var result = "<\(name)"
        for attribute in attributes {
            guard let value = tag[attribute], isAllowed(attribute, value) else { continue }
            result += " \(attribute)=\"\(escaped(Substring(value)).replacing("\"", with: "&quot;"))\""
        }
        return result + (name == "a" ? " rel=\"noopener noreferrer\">" : ">")
    }

    private static func isAllowed(_ attribute: String, _ value: String) -> Bool {
        let lower = value.lowercased()
        switch attribute {
        case "href": return ["http://", "https://", "mailto:", "tel:", "#"].contains(where: lower.hasPrefix)
        case "src": return lower.hasPrefix("data:image/")
        // An escape or a character reference could hide an address.
        case "style": return !["url", "image", "\\", "&"].contains(where: lower.contains)
        default: return true
        }
    }

    /// Works on scalars: a combining mark after `<` makes another Swift character of it, but a browser still sees `<`.
    /// Character references stay.
    private static func escaped(_ text: Substring) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    private static let allowed: Set<String> = [
        "a", "abbr", "address", "article", "aside", "b", "bdi", "bdo", "big", "blockquote", "body", "br", "caption", "center",
        "cite",
        "code", "col", "colgroup", "dd", "del", "dfn", "div", "dl", "dt", "em", "figcaption", "figure", "font", "footer", "h1",
        "h2",
        "h3", "h4", "h5", "h6", "header", "hr", "i", "img", "ins", "kbd", "li", "main", "mark", "nav", "ol", "p", "pre", "q", "s",
        "samp", "section", "small", "span", "strike", "strong", "style", "sub", "sup", "table", "tbody", "td", "tfoot", "th",
        "thead",
        "time", "tr", "tt", "u", "ul", "var", "wbr",
    ]

    private static let attributes = [
        "align", "alt", "bgcolor", "border", "cellpadding", "cellspacing", "class", "color", "cols", "colspan", "dir", "face",
        "height",
        "href", "id", "lang", "nowrap", "rowspan", "rows", "size", "span", "src", "start", "style", "title", "type", "valign",
        "value",
        "width",
    ]
}
