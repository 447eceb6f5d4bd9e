/// A text in parts, between which a line may end: long addresses and names have no spaces, and would widen their column.
struct BreakableText {
    /// A word of at most so many characters is not divided, also if it has signs, such as a short address.
    private static let shortWord = 12
    /// A part between two signs with at most so many characters is not divided.
    private static let longestPart = 20
    /// The characters of each piece of a longer part.
    private static let pieceSize = 10

    let parts: [String]

    init(_ text: String) {
        let words = text.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        guard words.contains(where: { $0.count > Self.shortWord }) else {
            parts = [text]
            return
        }
        var parts = [""]
        for (index, word) in words.enumerated() {
            if index > 0 { parts[parts.count - 1] += " " }
            let pieces = word.count > Self.shortWord ? Self.pieces(of: word) : [word]
            parts[parts.count - 1] += pieces[0]
            parts += pieces.dropFirst()
        }
        self.parts = parts
    }

    /// The parts of a word: divided before an `@` or a full stop, behind other signs, and every few characters where a part is still too long.
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
        return pieces.flatMap { piece in piece.count > longestPart ? Self.steps(of: piece) : [piece] }
    }

    private static func steps(of piece: String) -> [String] {
        let letters = Array(piece)
        return stride(from: 0, to: letters.count, by: pieceSize).map { String(letters[$0..<min($0 + pieceSize, letters.count)]) }
    }
}
