/// Parses Message-IDs in header fields (RFC 5322 section 3.6.4), with comments, foldings, blanks and encoded words around and in
/// them.
enum MessageIDs {
    /// The longest id in bytes of UTF-8, with its angle brackets.
    static let limit = 320

    /// The ids of a field in order, with angle brackets.
    static func all(_ field: ArraySlice<UInt8>?) -> [String] {
        guard let field else { return [] }
        let scalars = Array(EncodedWords.text(field.prefix(1 << 20)).unicodeScalars)
        var ids: [String] = []
        var id: String?
        var word = ""
        var depth = 0
        func add(_ text: String) {
            let whole = "<\(text)>"
            if (3...limit).contains(whole.utf8.count) { ids.append(whole) }
        }
        // Without brackets, a word with `@` is an id.
        func addWord() {
            if word.unicodeScalars.contains("@") { add(word) }
            word = ""
        }
        for scalar in scalars {
            if id == nil, scalar == "(" { depth += 1 }
            if depth > 0 {
                if scalar == ")" { depth -= 1 }
            } else if scalar == "<" {
                addWord()
                id = ""
            } else if scalar == ">" {
                if let id { add(id) }
                id = nil
            } else if scalar.properties.isWhitespace || scalar.isControl || id == nil && (scalar == "," || scalar == ";") {
                if id == nil { addWord() }
            } else if id != nil {
                id?.unicodeScalars.append(scalar)
            } else {
                word.unicodeScalars.append(scalar)
            }
        }
        addWord()
        // A comment without an end would hide what follows, so it is not treated as a comment.
        return ids.isEmpty && depth > 0 ? all(field.filter { $0 != UInt8(ascii: "(") }[...]) : ids
    }
}
