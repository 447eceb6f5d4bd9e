/// A text in parts, after which a line may break. Long addresses and names have no spaces, and would make a column too wide.
struct BreakableText {
    /// A word of at most this many characters, such as a short address, is not divided, even if it contains punctuation.
    private static let shortWord = 12
    /// A part between two punctuation characters is not divided if it has at most this many characters.
    private static let longestPart = 20
    /// How many characters each piece of a longer part has.
    private static let pieceSize = 10

    /// A part of the text. A line may break after this part.
    struct Part: Equatable {
        var text: String
        /// Whether a line may break here even if there is room: after the `@` of an address, or within a long side of an
        /// address.
        var isAlways = false
    }

    let parts: [Part]
    /// Whether each long word is an address.
    let isAddress: Bool
    /// Whether the text is one address that stays on one line if a list has room.
    let isWhole: Bool

    /// - Parameter whole: An address of at most this many characters stays on one line if a list has room.
    init(_ text: String, whole: Int = 0) {
        let words = text.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        let long = words.filter { $0.count > Self.shortWord }
        isAddress = !long.isEmpty && long.allSatisfy(Self.isAddress)
        isWhole = isAddress && words.count == 1 && text.count <= whole
        var parts = [Part(text: "")]
        for (index, word) in words.enumerated() {
            if index > 0 { parts[parts.count - 1].text += " " }
            let pieces = word.count <= Self.shortWord ? [Part(text: word)] : Self.pieces(of: word, whole)
            parts[parts.count - 1].text += pieces[0].text
            parts[parts.count - 1].isAlways = pieces[0].isAlways
            parts += pieces.dropFirst()
        }
        self.parts = parts
    }

    /// Whether a word is an address, perhaps with a comma after it.
    private static func isAddress(_ word: String) -> Bool {
        let sides = word.split(separator: "@", omittingEmptySubsequences: false)
        return sides.count == 2 && !sides[0].isEmpty && sides[1].contains { $0.isLetter }
    }

    /// The parts of a word. An address is first divided after its `@`.
    private static func pieces(of word: String, _ whole: Int) -> [Part] {
        guard isAddress(word), let at = word.firstIndex(of: "@") else { return fine(word, isAlways: true) }
        guard word.count > whole else { return fine(word, isAlways: false) }
        let sides = [String(word[...at]), String(word[word.index(after: at)...])]
        var parts = sides.flatMap { fine($0, isAlways: $0.count > longestPart) }
        if let end = parts.firstIndex(where: { $0.text.hasSuffix("@") }) { parts[end].isAlways = true }
        return parts
    }

    /// The parts of a text without spaces. The text is divided before a full stop and after other punctuation. Parts that are still
    /// too long are divided every few characters.
    private static func fine(_ word: String, isAlways: Bool) -> [Part] {
        var pieces = [""]
        for letter in word {
            let last = pieces[pieces.count - 1]
            let isBehind = last.last.map { "-_/:;,&=@".contains($0) } ?? false
            if !last.isEmpty, letter == "." || isBehind {
                pieces.append(String(letter))
            } else {
                pieces[pieces.count - 1].append(letter)
            }
        }
        return pieces.flatMap { $0.count > longestPart ? Self.steps(of: $0) : [$0] }.map { Part(text: $0, isAlways: isAlways) }
    }

    private static func steps(of piece: String) -> [String] {
        let letters = Array(piece)
        return stride(from: 0, to: letters.count, by: pieceSize).map { String(letters[$0..<min($0 + pieceSize, letters.count)]) }
    }
}
