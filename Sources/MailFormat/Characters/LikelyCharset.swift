/// Recognizes charsets by the structure of undeclared bytes, if the text is too short for ICU's statistics.
enum LikelyCharset {
    /// How many two-byte characters a guess needs at least.
    private static let least = 6

    /// The label of the likely charset; nil if the structure does not show it.
    static func label(of bytes: ArraySlice<UInt8>) -> String? {
        if isKorean(bytes) { return "euc-kr" }
        if isBig5(bytes) { return "big5" }
        return isTurkish(bytes) ? "windows-1254" : nil
    }

    /// The two-byte characters; nil if a byte above 0x7F does not begin one.
    private static func pairs(_ bytes: ArraySlice<UInt8>, isTrail: (UInt8) -> Bool) -> [(lead: UInt8, trail: UInt8)]? {
        var pairs: [(lead: UInt8, trail: UInt8)] = []
        var index = bytes.startIndex
        while index < bytes.endIndex {
            guard bytes[index] > 0x7F else {
                index += 1
                continue
            }
            // The sample may end within a character.
            guard index + 1 < bytes.endIndex else { break }
            guard (0xA1...0xF9).contains(bytes[index]), isTrail(bytes[index + 1]) else { return nil }
            pairs.append((bytes[index], bytes[index + 1]))
            index += 2
        }
        return pairs.count >= least ? pairs : nil
    }

    /// Hangul has the rows 0xB0 to 0xC8 of EUC-KR. Chinese and Japanese in EUC use other rows too.
    private static func isKorean(_ bytes: ArraySlice<UInt8>) -> Bool {
        guard let pairs = pairs(bytes, isTrail: { (0xA1...0xFE).contains($0) }) else { return false }
        let syllables = pairs.count { (0xB0...0xC8).contains($0.lead) }
        return syllables >= least && syllables * 10 >= pairs.count * 9
            && pairs.allSatisfy { (0xB0...0xC8).contains($0.lead) || $0.lead <= 0xA3 }
    }

    /// Common characters of Big5 have the rows 0xA4 to 0xC6. In Big5, the second byte of many characters is below 0x80, and that of
    /// many other characters is above 0x80.
    private static func isBig5(_ bytes: ArraySlice<UInt8>) -> Bool {
        guard let pairs = pairs(bytes, isTrail: { (0x40...0x7E).contains($0) || (0xA1...0xFE).contains($0) }) else { return false }
        let usual = pairs.count { (0xA1...0xC6).contains($0.lead) }
        let words = pairs.count { (0xA4...0xC6).contains($0.lead) }
        let low = pairs.count { $0.trail < 0x80 }
        return usual * 10 >= pairs.count * 9 && words * 10 >= pairs.count * 7 && low * 100 >= pairs.count * 15
            && (pairs.count - low) * 100 >= pairs.count * 15
    }

    /// The letters above 0x7F that Turkish has, in windows-1254.
    private static let turkish: Set<UInt8> = [
        0xC2, 0xC7, 0xCE, 0xD0, 0xD6, 0xDB, 0xDC, 0xDD, 0xDE, 0xE2, 0xE7, 0xEE, 0xF0, 0xF6, 0xFB, 0xFC, 0xFD, 0xFE,
    ]

    /// A text is Turkish if it has `İ` or `ı`, and `ğ` or `ş`, and `ü` or `ç`. Icelandic lacks `ü` and `ç`.
    private static func isTurkish(_ bytes: ArraySlice<UInt8>) -> Bool {
        let letters = bytes.filter { $0 >= 0xC0 }
        guard letters.count >= 3, letters.allSatisfy(turkish.contains) else { return false }
        let kinds: [Set<UInt8>] = [[0xDD, 0xFD], [0xD0, 0xDE, 0xF0, 0xFE], [0xC7, 0xDC, 0xE7, 0xFC]]
        return kinds.allSatisfy { kind in letters.contains(where: kind.contains) }
    }
}
