extension String {
    /// The longest character that is not cut, in UTF-16 units. Family emoji have about 30 units.
    private static let wholeUnits = 40

    /// The beginning of the text, with at most `limit` UTF-16 units. Characters are not split, unless they have very many marks.
    package func prefix(units limit: Int) -> String {
        // Each UTF-16 unit takes at least one byte of UTF-8, so a text with few bytes is not counted.
        guard utf8.count > limit, utf16.count > limit else { return self }
        var result = ""
        var length = 0
        for character in self {
            let units = character.utf16.count
            guard length + units > limit else {
                result.append(character)
                length += units
                continue
            }
            guard units > Self.wholeUnits || result.isEmpty else { break }
            for scalar in character.unicodeScalars {
                length += UTF16.width(scalar)
                guard length <= limit else { break }
                result.unicodeScalars.append(scalar)
            }
            break
        }
        return result
    }
}
