import Foundation
import Model

/// The passwords that people may choose, by NIST SP 800-63B: long passwords that attackers don't try first. No rule requires
/// certain kinds of characters, and no password expires.
package enum PasswordRules {
    /// The minimum length of a password in characters (section 5.1.1.2 requires at least 8).
    package static let minimumLength = 10
    private static let maximumBytes = 1_000
    /// How many characters a password needs in addition to names that are easy to guess.
    private static let minimumRest = 6
    /// Shorter names are ignored, because they occur in any text.
    private static let shortestName = 4
    /// Shorter parts of a person's name are ignored, because they occur in many words.
    private static let shortestPart = 3

    /// - Parameters:
    ///   - name: The person's name.
    ///   - organization: The organization's name.
    /// - Throws: ``FieldsealError`` `.invalidArgument` that says what is wrong with the password.
    static func check(_ password: String, of name: String, in organization: String) throws(FieldsealError) {
        guard password.count >= minimumLength, password.utf8.count <= maximumBytes else {
            throw FieldsealError(
                .invalidArgument, "A password has at least \(minimumLength) characters, and at most 1,000 bytes in UTF-8.")
        }
        let lower = password.lowercased()
        let variants = variants(of: lower)
        guard !variants.contains(where: CommonPasswords.contains), !CommonPasswords.isWord(lower) else {
            throw FieldsealError(
                .invalidArgument, "This password is on the list of those that attackers try first. Choose another one.")
        }
        guard !variants.contains(where: isSequence) else {
            throw FieldsealError(
                .invalidArgument, "This password only repeats or counts characters, so it is easily guessed. Choose another one.")
        }
        let rest = rest(of: password, without: names(name, organization))
        guard rest >= minimumRest else {
            let message =
                rest == 1
                ? "Apart from names that anyone knows, such as the person's or the organization's, this password has only 1 character. "
                    + "Choose another one."
                : "Apart from names that anyone knows, such as the person's or the organization's, this password has only \(rest) "
                    + "characters. Choose another one."
            throw FieldsealError(.invalidArgument, message)
        }
    }

    // MARK: Names

    /// The letters and digits of a text, in lower case and without accents.
    private static func plain(_ text: some StringProtocol) -> [Unicode.Scalar] {
        text.lowercased().replacing("ß", with: "ss").decomposedStringWithCompatibilityMapping.unicodeScalars.filter {
            $0.properties.isAlphabetic || $0.properties.numericType != nil
        }
    }

    /// The names that are easy to guess: the person's name and each part of it, the organization's name, and the product's name.
    private static func names(_ name: String, _ organization: String) -> [[Unicode.Scalar]] {
        let spellings = [name, transcribed(name)]
        let parts = spellings.flatMap { $0.split { !$0.isLetter && !$0.isNumber } }.map(plain).filter { $0.count >= shortestPart }
        return parts + (spellings + [organization, "fieldseal"]).map(plain).filter { $0.count >= shortestName }
    }

    /// The spelling of a name where letters of German, Danish, Norwegian and Swedish, such as ä and ø, are not available.
    private static func transcribed(_ name: String) -> String {
        [("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("å", "aa"), ("æ", "ae"), ("ø", "oe")].reduce(
            name.lowercased().precomposedStringWithCanonicalMapping
        ) { $0.replacing($1.0, with: $1.1) }
    }

    /// How many characters of a password do not belong to names. A name is also found in a different case, or with accents, blanks
    /// or punctuation in it.
    private static func rest(of password: String, without names: [[Unicode.Scalar]]) -> Int {
        let characters = Array(password)
        // The letters and digits, each with its place in the password.
        let letters = characters.indices.flatMap { place in plain(String(characters[place])).map { (place, $0) } }
        var isOfName = letters.map { _ in false }
        for name in names where name.count <= letters.count {
            for start in 0...letters.count - name.count
            where letters[start..<start + name.count].lazy.map(\.1).elementsEqual(name) {
                for index in start..<start + name.count { isOfName[index] = true }
            }
        }
        // Characters between two letters of names do not count either.
        var taken = Set(zip(letters, isOfName).filter(\.1).map(\.0.0))
        for index in letters.indices.dropLast() where isOfName[index] && isOfName[index + 1] {
            taken.formUnion(letters[index].0...letters[index + 1].0)
        }
        return characters.count - taken.count
    }

    /// The maximum number of characters that are removed from the end of a password before it is compared.
    private static let suffixLimit = 12
    /// A password that is one text twice, of at most this length, is refused: writing the text twice does not make it harder to
    /// guess.
    private static let longestTwice = 10

    /// The password, and its variants without some of the digits and signs at its end.
    private static func variants(of password: String) -> [String] {
        var variants = [password]
        while let last = variants.last, let character = last.last, !character.isLetter, variants.count <= suffixLimit,
            last.count > shortestName
        {
            variants.append(String(last.dropLast()))
        }
        return variants
    }

    /// Rows of letter keys on keyboards.
    private static let rows = [
        "qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjklyxcvbnm", "azertyuiopqsdfghjklmwxcvbn",
    ]

    /// Whether the text is part of a keyboard row or of the digits, in either direction. After 0, the digits begin again.
    private static func isOfRow(_ text: String) -> Bool {
        let digits = String(repeating: "1234567890", count: text.count / 10 + 2)
        return (rows + [digits]).contains { $0.contains(text) || String($0.reversed()).contains(text) }
    }

    /// Whether each character follows from the one before: `aaaaaaaaaa`, `abcdefghij`, `9876543210`, `abababababab`.
    private static func isSequence(_ text: String) -> Bool {
        guard text.count > shortestName else { return false }
        let half = text.prefix(text.count / 2)
        if isOfRow(text) || text.count % 2 == 0 && half.count <= longestTwice && half == text.suffix(half.count) { return true }
        let values = text.unicodeScalars.map { Int($0.value) }
        let steps = Set(zip(values, values.dropFirst()).map { $1 - $0 })
        if steps.count == 1, let step = steps.first, abs(step) <= 1 { return true }
        return (1...values.count / 3).contains { period in
            values.indices.dropFirst(period).allSatisfy { values[$0] == values[$0 - period] }
        }
    }
}
