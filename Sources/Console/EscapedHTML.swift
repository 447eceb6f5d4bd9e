import Mustache

/// Texts in HTML, escaped by code points.
///
/// A sign with a mark, or behind a character that joins it, is another character in Swift and still a sign for a browser. The templates'
/// own escaping looks at characters.
struct EscapedHTML: MustacheContentType {
    /// The type as the templates name it.
    static let name = "ESCAPED_HTML"

    private static let references: [Unicode.Scalar: String] = [
        "&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&quot;", "'": "&#39;",
    ]

    func escapeText(_ text: String) -> String { Self.escaped(text) }

    static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            if let reference = references[scalar] {
                result += reference
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
