import Mustache

/// Escapes texts in HTML by code points.
///
/// In Swift, `<` with a combining mark after it is a different character than `<`, but a browser still sees `<`. The templates' own
/// escaping compares characters, so it would not escape this `<`.
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
