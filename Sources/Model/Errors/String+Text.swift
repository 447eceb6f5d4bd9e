import MailFormat

/// Texts as messages and PostgreSQL's columns take them.
extension String {
    package func strippingSuffix(_ suffix: String) -> String? { hasSuffix(suffix) ? String(dropLast(suffix.count)) : nil }

    /// A client's own word in a message, cut to 100 characters.
    package var quotedForMessage: String { "'\(prefix(100))'" }

    /// A path that an operator gave, in a message: whole, since two files may differ in their last letters alone.
    package var quotedPath: String { "'\(self)'" }

    /// PostgreSQL's texts hold no U+0000.
    package var withoutNull: String {
        let hasNull = utf8.withContiguousStorageIfAvailable { $0.contains(0) } ?? utf8.contains(0)
        return hasNull ? filter { $0 != "\0" } : self
    }

    /// At most so many UTF-16 units, without U+0000.
    package func cut(to limit: Int) -> String { withoutNull.prefix(units: limit) }
}
