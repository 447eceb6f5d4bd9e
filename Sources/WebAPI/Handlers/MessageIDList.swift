/// The Message-IDs of a text that a program wrote: in angle brackets with any words between them, or bare.
struct MessageIDList {
    /// The ids in order, in angle brackets.
    private(set) var ids: [String] = []
    /// Whether the text has only ids.
    private(set) var isExact = true

    /// An id, and whether it had an opening or a closing bracket.
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

    /// Reads the text between angle brackets. White space in it is not a part of the id (RFC 5322 section 4.5.4).
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

    /// If a text has ids in brackets and other words, no bare word is an id, even if it has an `@`. If a text is one word, it
    /// is an id even without an `@`.
    private mutating func finish() {
        if found.isEmpty, words.count == 1 { (found, words) = ([("<\(words[0])>", false)], []) }
        let hasSentence = !words.isEmpty && found.contains(where: \.hasBracket)
        ids = found.filter { !hasSentence || $0.hasBracket }.map(\.id)
        isExact = isExact && words.isEmpty
    }
}
