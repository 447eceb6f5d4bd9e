import Model

/// Splits an OData expression into tokens. The lexer supports a part of the OData 4.0 ABNF.
struct ExpressionLexer {
    enum Token: Equatable {
        /// An identifier, a keyword, a qualified name, or a literal without quotes such as a number, a date or an id.
        case word(String)
        case string(String)
        /// A parameter alias, without its `@`.
        case alias(String)
        case symbol(Character)
        case end
    }

    private let characters: [Unicode.Scalar]
    private(set) var position = 0
    private(set) var token = Token.end
    private(set) var tokenStart = 0

    /// - Throws: ``FieldsealError`` `.queryDoesNotFit` when the first token is malformed.
    init(_ text: String) throws(FieldsealError) {
        characters = Array(text.unicodeScalars)
        try advance()
    }

    mutating func advance() throws(FieldsealError) {
        while position < characters.count, " \t\r\n".unicodeScalars.contains(characters[position]) { position += 1 }
        tokenStart = position
        guard position < characters.count else {
            token = .end
            return
        }
        let scalar = characters[position]
        switch scalar {
        case "'", "\"":
            token = .string(try string(quote: scalar))
        case "@":
            position += 1
            token = .alias(word())
        case _ where Self.isWordPart(scalar) || scalar == "-" || scalar == "{":
            token = .word(word())
        default:
            position += 1
            token = .symbol(Character(scalar))
        }
    }

    /// Consumes the token if it is that symbol.
    mutating func take(_ symbol: Character) throws(FieldsealError) -> Bool {
        guard token == .symbol(symbol) else { return false }
        try advance()
        return true
    }

    /// Consumes the token if it is that word, in upper or lower case.
    mutating func take(word: String) throws(FieldsealError) -> Bool {
        guard case .word(let text) = token, text.lowercased() == word else { return false }
        try advance()
        return true
    }

    mutating func require(_ symbol: Character) throws(FieldsealError) {
        guard try take(symbol) else { throw unexpected("'\(symbol)'") }
    }

    mutating func requireWord(_ what: String) throws(FieldsealError) -> String {
        guard case .word(let text) = token else { throw unexpected(what) }
        try advance()
        return text
    }

    /// The error at the current position. The error quotes nothing that could be a literal.
    func unexpected(_ expected: String) -> FieldsealError {
        let what = token == .end ? "it ends" : "there is something else"
        return FieldsealError(.queryDoesNotFit, "The expression has no \(expected) at character \(tokenStart + 1), where \(what).")
    }

    private mutating func word() -> String {
        let start = position
        while position < characters.count {
            let scalar = characters[position]
            // A sign within a word is part of a date, an id or an exponent.
            guard Self.isWordPart(scalar) || "-+{}".unicodeScalars.contains(scalar) || scalar == ":" && isTime(from: start) else {
                break
            }
            position += 1
        }
        var view = String.UnicodeScalarView()
        view.append(contentsOf: characters[start..<position])
        return String(view)
    }

    /// A colon within a word is part of a time. Elsewhere a colon ends the variable of a lambda.
    private func isTime(from start: Int) -> Bool {
        position - start >= 13 && ("0"..."9").contains(characters[start])
    }

    private mutating func string(quote: Unicode.Scalar) throws(FieldsealError) -> String {
        var view = String.UnicodeScalarView()
        position += 1
        while position < characters.count {
            if characters[position] == quote {
                guard position + 1 < characters.count, characters[position + 1] == quote else {
                    position += 1
                    return String(view)
                }
                position += 1
            } else if quote == "\"", characters[position] == "\\", position + 1 < characters.count {
                position += 1
            }
            view.append(characters[position])
            position += 1
        }
        throw FieldsealError(.queryDoesNotFit, "A literal that begins at character \(tokenStart + 1) has no closing quote.")
    }

    private static func isWordPart(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.isAlphabetic || ("0"..."9").contains(scalar) || scalar == "_" || scalar == "." || scalar == "$"
            || scalar == "*"
    }
}
