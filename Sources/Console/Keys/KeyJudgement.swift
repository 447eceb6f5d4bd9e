import CellCrypto

/// The verdict on a key while it is typed: whether the rule allows it, and how hard it is to guess.
struct KeyJudgement {
    let isAccepted: Bool
    /// Between 0 and 4, for a meter.
    let level: Int
    let text: String
    /// The reason for which an allowed key looks guessable.
    let warning: String?

    init(_ key: String, _ texts: Texts) {
        let violations = KeyStrength.violations(of: key)
        isAccepted = violations.isEmpty
        guard isAccepted else {
            level = violations.count > 2 ? 0 : 1
            warning = nil
            let parts = violations.map { texts["violation:\($0.rawValue)"] }.joined(separator: ", ")
            // A key that breaks the rule in another way, for example by a character that is not allowed, is not called weak.
            let weak: Set<KeyStrength.Violation> = [.tooShort, .noNumeral, .noLetter, .noSymbol]
            let isWeak: Bool = violations.allSatisfy(weak.contains)
            text = texts.text(isWeak ? "keyTooWeak" : "keyNotAllowed", ["why": parts])
            return
        }
        guard let weakness = KeyStrength.weakness(of: key) else {
            level = 4
            warning = nil
            text = texts["keyStrong"]
            return
        }
        // The message quotes the word that was found.
        let quoted = weakness.split(separator: "\"", omittingEmptySubsequences: false)
        let why = quoted.count == 3 ? texts.text("weakness:word", ["word": String(quoted[1])]) : texts["weakness:\(weakness)"]
        let said = texts.text("keyGuessable", ["why": why])
        level = weakness.hasPrefix("it is short") ? 3 : 2
        warning = said
        text = said
    }
}
