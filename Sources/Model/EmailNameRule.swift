/// The rules for names of e-mail addresses. A name is written in a header, in one line.
package enum EmailNameRule {
    /// The length of the longest name that a record stores, in UTF-16 units.
    package static let limit = 400

    /// Whether a name is one line that is displayed as it is.
    package static func isUsable(_ name: String) -> Bool { name.isOneLine && !name.changesDirection }

    /// Whether a name has a visible character.
    package static func isSeen(_ name: String) -> Bool {
        name.unicodeScalars.contains { !$0.properties.isWhitespace && String($0).isVisible }
    }
}
