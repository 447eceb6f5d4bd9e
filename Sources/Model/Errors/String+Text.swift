import MailFormat

/// Texts for messages and for PostgreSQL's columns.
extension String {
    /// The text without its suffix; nil if it has another end.
    package func strippingSuffix(_ suffix: String) -> String? { hasSuffix(suffix) ? String(dropLast(suffix.count)) : nil }

    /// A client's text for a message, cut to 100 characters.
    package var quotedForMessage: String { "'\(prefix(100))'" }

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
