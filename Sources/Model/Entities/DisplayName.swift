extension EntityDefinition {
    /// The schema name as words, such as `Email Server Profile`.
    package var displayName: String { schemaName.spaced }
}

extension AttributeDefinition {
    /// The schema name as words, such as `Email Address`.
    package var displayName: String { schemaName.spaced }
}

extension String {
    /// The words of a schema name, with spaces between them.
    package var spaced: String {
        var words = ""
        var previous: Character = " "
        for character in self {
            if character.isUppercase, previous.isLowercase { words.append(" ") }
            words.append(character == "_" ? " " : character)
            previous = character
        }
        return words
    }
}
