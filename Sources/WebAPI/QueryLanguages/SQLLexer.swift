import Foundation
import Model
import Records

/// Splits SQL into tokens.
struct SQLLexer {
    private enum Token: Equatable {
        case word(String)
        /// A name in brackets or double quotes.
        case name(String)
        case string(String)
        case number(String)
        case symbol(String)
        case end
    }

    private let characters: [Character]
    private var position = 0
    private var token = Token.end
    private var start = 0

    private static let keywords: Set<String> = [
        "select", "from", "where", "group", "order", "by", "join", "inner", "left", "outer", "on", "and", "or", "not", "as", "in",
        "like", "between", "is", "null", "asc", "desc", "offset", "fetch", "top", "distinct", "having", "union", "right", "full",
        "cross", "with",
    ]

    init(_ text: String) throws(FieldsealError) {
        characters = Array(text)
        try advance()
    }

    var isAtEnd: Bool { token == .end }

    /// The current token in lower case, if it is a word; nil for another token.
    var word: String? { if case .word(let word) = token { word.lowercased() } else { nil } }

    func isSymbol(_ symbol: String) -> Bool { token == .symbol(symbol) }

    /// Whether the token after the current one is that symbol.
    func isFollowed(by symbol: String) throws(FieldsealError) -> Bool {
        var copy = self
        try copy.advance()
        return copy.isSymbol(symbol)
    }

    mutating func advance() throws(FieldsealError) {
        while position < characters.count, characters[position].isWhitespace { position += 1 }
        start = position
        guard position < characters.count else {
            token = .end
            return
        }
        let character = characters[position]
        if character == "'" || character == "\"" || character == "[" {
            let text = try quoted(character == "[" ? "]" : character)
            token = character == "'" ? .string(text) : .name(text)
        } else if character.isLetter || character == "_" {
            token = .word(take { $0.isLetter || $0.isNumber || $0 == "_" })
        } else if character.isASCII && character.isNumber
            || character == "-" && position + 1 < characters.count && characters[position + 1].isNumber
        {
            position += 1
            token = .number(String(character) + take { $0.isASCII && $0.isNumber || $0 == "." })
        } else {
            let two = String(characters[position..<min(position + 2, characters.count)])
            let symbol = ["<>", "<=", ">=", "!="].contains(two) ? two : String(character)
            guard symbol != "--", two != "--", two != "/*" else {
                throw FieldsealError(.queryDoesNotFit, "Comments are not supported.")
            }
            position += symbol.count
            token = .symbol(symbol)
        }
    }

    private mutating func take(while isPart: (Character) -> Bool) -> String {
        let from = position
        while position < characters.count, isPart(characters[position]) { position += 1 }
        return String(characters[from..<position])
    }

    private mutating func quoted(_ end: Character) throws(FieldsealError) -> String {
        var text = ""
        position += 1
        while position < characters.count {
            if characters[position] == end {
                guard position + 1 < characters.count, characters[position + 1] == end else {
                    position += 1
                    return text
                }
                position += 1
            }
            text.append(characters[position])
            position += 1
        }
        throw FieldsealError(.queryDoesNotFit, "A quote that begins at character \(start + 1) is not closed.")
    }

    /// Consumes the token if it is that symbol, or that keyword in upper or lower case.
    mutating func take(_ text: String) throws(FieldsealError) -> Bool {
        guard token == .symbol(text) || word == text else { return false }
        try advance()
        return true
    }

    mutating func require(_ text: String) throws(FieldsealError) {
        guard try take(text) else { throw unexpected(text.uppercased()) }
    }

    mutating func require(_ text: String, or other: String) throws(FieldsealError) {
        let isFirst = try take(text)
        if !isFirst { try require(other) }
    }

    mutating func requireName() throws(FieldsealError) -> String {
        guard let name = try takeAlias() else { throw unexpected("name") }
        return name
    }

    /// Consumes a name that is not a keyword.
    mutating func takeAlias() throws(FieldsealError) -> String? {
        switch token {
        case .name(let name):
            try advance()
            return name
        case .word(let word) where !Self.keywords.contains(word.lowercased()):
            try advance()
            return word
        default: return nil
        }
    }

    mutating func requireNumber() throws(FieldsealError) -> Int {
        guard case .number(let text) = token, let number = Int(text), (0...Int(Int32.max)).contains(number) else {
            throw unexpected("number")
        }
        try advance()
        return number
    }

    mutating func takeComparison() throws(FieldsealError) -> Filter.Comparison? {
        let comparisons: [String: Filter.Comparison] = [
            "=": .equal, "<>": .differs, "!=": .differs, "<": .less, "<=": .lessOrEqual, ">": .greater, ">=": .greaterOrEqual,
        ]
        guard case .symbol(let symbol) = token, let comparison = comparisons[symbol] else { return nil }
        try advance()
        return comparison
    }

    mutating func takeLiteral() throws(FieldsealError) -> Literal? {
        switch token {
        case .string(let text):
            try advance()
            return .text(text)
        case .number(let text):
            try advance()
            return .number(text)
        case .word(let word) where ["true", "false"].contains(word.lowercased()):
            try advance()
            return .bool(word.lowercased() == "true")
        default: return nil
        }
    }

    func unexpected(_ expected: String) -> FieldsealError {
        let what = token == .end ? "it ends" : "there is something else"
        return FieldsealError(.queryDoesNotFit, "The SELECT has no \(expected) at character \(start + 1), where \(what).")
    }
}
