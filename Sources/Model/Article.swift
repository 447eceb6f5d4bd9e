extension String {
    /// The word with its indefinite article: `a queue`, `an email`. Names that begin with "u" get "a", because all such names in
    /// this service are pronounced like "user".
    package var withArticle: String {
        guard let first, "aeioAEIO".contains(first) else { return "a \(self)" }
        return "an \(self)"
    }
}

extension EntityDefinition {
    /// The logical name with its indefinite article.
    package var withArticle: String { logicalName.withArticle }
}
