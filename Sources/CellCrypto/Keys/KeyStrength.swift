import Foundation

/// The rule for a new organization key: 10 to 100 characters, at least one numeral, one letter and one symbol.
///
/// Characters are Unicode scalars after NFC. A letter is of category L, a numeral of Nd, and a symbol anything else. White space,
/// control characters, and characters that can't be seen or typed are refused, because a key may have to be typed from paper.
public enum KeyStrength {
    /// A part of the rule that a key does not meet, in the words of the error message.
    public enum Violation: String, Sendable, CaseIterable {
        case tooShort = "it has fewer than 10 characters"
        case tooLong = "it has more than 100 characters"
        case noNumeral = "it has no numeral"
        case noLetter = "it has no letter"
        case noSymbol = "it has no symbol"
        case whiteSpace = "it has white space or a control character"
        case invisible = "it has an invisible, private or unassigned character"
    }

    /// The allowed lengths in Unicode scalars.
    public static let lengths = 10...100

    /// Every part of the rule that `text` breaks, in the order of the cases.
    public static func violations(of text: String) -> [Violation] {
        let scalars = text.precomposedStringWithCanonicalMapping.unicodeScalars
        var found: Set<Violation> = [.noNumeral, .noLetter, .noSymbol]
        if scalars.count < lengths.lowerBound { found.insert(.tooShort) }
        if scalars.count > lengths.upperBound { found.insert(.tooLong) }
        for scalar in scalars {
            switch scalar.properties.generalCategory {
            case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
                // Some letters, such as the Hangul fillers, are invisible.
                if scalar.properties.isDefaultIgnorableCodePoint { found.insert(.invisible) } else { found.remove(.noLetter) }
            case .decimalNumber:
                found.remove(.noNumeral)
            case .control:
                found.insert(.whiteSpace)
            case _ where scalar.properties.isDefaultIgnorableCodePoint, .format, .privateUse, .unassigned, .surrogate:
                found.insert(.invisible)
            default:
                if scalar.properties.isWhitespace { found.insert(.whiteSpace) } else { found.remove(.noSymbol) }
            }
        }
        return Violation.allCases.filter(found.contains)
    }

    static func check(_ text: String) throws(KeyStrengthError) {
        let violations = violations(of: text)
        guard violations.isEmpty else { throw KeyStrengthError(violations: violations) }
    }

    /// Why an allowed key looks guessable; nil if it does not. Such a key causes a warning, and is never refused.
    public static func weakness(of text: String) -> String? {
        let lower = text.lowercased()
        let scalars = Array(lower.unicodeScalars)
        if Set(scalars).count < 6 { return "it repeats a few characters" }
        let steps = zip(scalars, scalars.dropFirst()).filter { Int($1.value) - Int($0.value) == 1 }.count
        if steps * 2 >= scalars.count { return "it follows the alphabet or counts" }
        let common = ["password", "passwort", "qwerty", "qwertz", "letmein", "welcome", "admin", "secret", "dynamics"]
        if let word = common.first(where: lower.contains) { return "it contains the common word \"\(word)\"" }
        if scalars.count < 16 { return "it is short; a generated key has 160 random bits" }
        return nil
    }
}
