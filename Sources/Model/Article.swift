extension String {
    /// The word with its indefinite article: `a queue`, `an email`. The names that begin with a "u" here are spoken with a "y".
    package var withArticle: String {
        guard let first, "aeioAEIO".contains(first) else { return "a \(self)" }
        return "an \(self)"
    }
}

extension EntityDefinition {
    /// The logical name with its indefinite article.
    package var withArticle: String { logicalName.withArticle }
}
