/// Names beside e-mail addresses. They stand in headers, in one line.
package enum EmailNameRule {
    /// The UTF-16 units of a name that a record keeps.
    package static let limit = 400

    /// Whether a name is one line that reads as what it is.
    package static func isUsable(_ name: String) -> Bool { name.isOneLine && !name.changesDirection }

    /// Whether anything of a name can be seen.
    package static func isSeen(_ name: String) -> Bool {
        name.unicodeScalars.contains { !$0.properties.isWhitespace && String($0).isVisible }
    }
}
