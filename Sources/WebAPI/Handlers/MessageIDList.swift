/// The Message-IDs of a text that a program wrote: in angle brackets with any words between them, or bare.
struct MessageIDList {
    /// The ids in order, in angle brackets.
    private(set) var ids: [String] = []
    /// Whether the text has nothing but ids.
    private(set) var isExact = true

    /// An id, and whether brackets stood around it, or one of them.
    private var found: [(id: String, hasBracket: Bool)] = []
    private var words: [String] = []
    private var word = ""
    private var hasBracket = false

    init(_ text: String) {
        var rest = text.unicodeScalars[...]
        while let scalar = rest.popFirst() {
            switch scalar {
            case "<":
                endWord()
                let inner = rest.prefix { $0 != ">" && $0 != "<" }
                hasBracket = true
                if inner.endIndex < rest.endIndex, rest[inner.endIndex] == ">" {
                    take(inner)
                    rest = rest[inner.endIndex...].dropFirst()
                    endWord()
                }
            case ">":
                hasBracket = true
                endWord()
            case _ where scalar.properties.isWhitespace || scalar == "," || scalar == ";": endWord()
            default: word.unicodeScalars.append(scalar)
            }
        }
        endWord()
        finish()
    }

    /// What stands in brackets. White space in an id is no part of it (RFC 5322 section 4.5.4).
    private mutating func take(_ inner: Substring.UnicodeScalarView) {
        for scalar in inner {
            if scalar.properties.isWhitespace { isExact = false } else { word.unicodeScalars.append(scalar) }
        }
    }

    private mutating func endWord() {
        defer { (word, hasBracket) = ("", false) }
        guard !word.isEmpty else {
            if hasBracket { isExact = false }
            return
        }
        if hasBracket || word.contains("@") { found.append(("<\(word)>", hasBracket)) } else { words.append(word) }
    }

    /// Beside ids in brackets, a bare word of a sentence is none, though it be an address. A single word is one without an `@` too.
    private mutating func finish() {
        if found.isEmpty, words.count == 1 { (found, words) = ([("<\(words[0])>", false)], []) }
        let hasSentence = !words.isEmpty && found.contains(where: \.hasBracket)
        ids = found.filter { !hasSentence || $0.hasBracket }.map(\.id)
        isExact = isExact && words.isEmpty
    }
}
