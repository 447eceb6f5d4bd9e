import Foundation
import MailFormat

/// Texts for messages and for PostgreSQL's columns.
extension String {
    /// The text without its suffix; nil if the text does not end with the suffix.
    package func strippingSuffix(_ suffix: String) -> String? { hasSuffix(suffix) ? String(dropLast(suffix.count)) : nil }

    /// A text from a client, in quotes and cut to 100 characters, for a message.
    package var quotedForMessage: String { "'\(String(prefix(100)).onOneLine)'" }

    /// Whether the text has no control characters and no ends of lines.
    package var isOneLine: Bool { unicodeScalars.allSatisfy { !Self.endsOrControls($0) } }

    /// Whether each character is visible. Invisible are control, format, unassigned and private-use characters, and those that are
    /// displayed as nothing.
    package var isVisible: Bool {
        unicodeScalars.allSatisfy(\.isVisible)
    }

    /// Whether a character changes the direction of the text after it, so that the text looks like another one.
    package var changesDirection: Bool {
        unicodeScalars.contains { (0x202A...0x202E).contains($0.value) || (0x2066...0x2069).contains($0.value) }
    }

    /// The form in which two names are compared: NFKC without case. Names that differ only in case or in their Unicode form are
    /// equal.
    package var comparedAsName: String {
        precomposedStringWithCompatibilityMapping.lowercased().uppercased().lowercased().precomposedStringWithCompatibilityMapping
    }

    /// The text for a terminal. Control characters and ends of lines are written as numbers, such as `<U+001B>`.
    package var onOneLine: String {
        guard !isOneLine else { return self }
        return unicodeScalars.map { Self.endsOrControls($0) ? "<U+\(Self.number($0))>" : "\($0)" }.joined()
    }

    /// The text for one line of a terminal. Invisible characters, and those that change the direction of text, are written as
    /// numbers too.
    package var asTerminalLine: String {
        unicodeScalars.map { Self.isUnseen($0) ? "<U+\(Self.number($0))>" : "\($0)" }.joined()
    }

    /// The text for several lines of a terminal. The same characters as in ``asTerminalLine`` are written as numbers.
    package var asTerminalText: String {
        split(separator: "\n", omittingEmptySubsequences: false).map { line in
            line.split(separator: "\t", omittingEmptySubsequences: false).map { String($0).asTerminalLine }.joined(separator: "\t")
        }.joined(separator: "\n")
    }

    private static func isUnseen(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate, .unassigned: true
        default: false
        }
    }

    private static func endsOrControls(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.generalCategory == .control || scalar == "\u{2028}" || scalar == "\u{2029}"
    }

    private static func number(_ scalar: Unicode.Scalar) -> String {
        let digits = String(scalar.value, radix: 16, uppercase: true)
        return String(repeating: "0", count: Swift.max(0, 4 - digits.count)) + digits
    }

    /// An operator's path for a message. It is not cut, because two files may differ only in their last characters.
    package var quotedPath: String { "'\(self)'" }

    /// The text without U+0000, which PostgreSQL's texts can't contain.
    package var withoutNull: String {
        let hasNull = utf8.withContiguousStorageIfAvailable { $0.contains(0) } ?? utf8.contains(0)
        return hasNull ? filter { $0 != "\0" } : self
    }

    /// The text cut to a number of UTF-16 units, without U+0000.
    package func cut(to limit: Int) -> String { withoutNull.prefix(units: limit) }
}
