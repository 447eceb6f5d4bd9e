/// A text in parts, between which a line may end: long addresses and names have no spaces, and would widen their column.
struct BreakableText {
    /// Letters of a word without signs that is never divided, and of one with signs, such as a short address.
    private static let limit = 20
    private static let signed = 12
    /// Letters of a part of a word that has no better place.
    private static let step = 10

    let parts: [String]

    init(_ text: String) {
        let words = text.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        guard words.contains(where: { $0.count > Self.signed }) else {
            parts = [text]
            return
        }
        var parts = [""]
        for (index, word) in words.enumerated() {
            if index > 0 { parts[parts.count - 1] += " " }
            let pieces = word.count > Self.signed ? Self.pieces(of: word) : [word]
            parts[parts.count - 1] += pieces[0]
            parts += pieces.dropFirst()
        }
        self.parts = parts
    }

    /// A word's parts: before an `@` or a full stop, behind other signs, and after every few letters of a part that is still too long.
    private static func pieces(of word: String) -> [String] {
        var pieces = [""]
        for letter in word {
            let last = pieces[pieces.count - 1]
            let isBefore = letter == "@" || letter == "."
            let isBehind = last.last.map { "-_/:;,&=".contains($0) } ?? false
            if !last.isEmpty, isBefore || isBehind {
                pieces.append(String(letter))
            } else {
                pieces[pieces.count - 1].append(letter)
            }
        }
        return pieces.flatMap { piece in piece.count > limit ? Self.steps(of: piece) : [piece] }
    }

    private static func steps(of piece: String) -> [String] {
        let letters = Array(piece)
        return stride(from: 0, to: letters.count, by: step).map { String(letters[$0..<min($0 + step, letters.count)]) }
    }
}
