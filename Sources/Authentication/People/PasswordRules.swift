import Model

/// The passwords that people may choose, by NIST SP 800-63B: long ones that attackers don't try first. No rule requires kinds of
/// characters, and no password expires.
public enum PasswordRules {
    /// The minimum length of a password in characters (section 5.1.1.2 requires at least 8).
    public static let minimumLength = 10
    private static let maximumBytes = 1_000
    /// How many characters a password needs beside names that are easy to guess.
    private static let minimumRest = 6
    /// Shorter names are ignored, because they occur in any text.
    private static let shortestName = 4

    /// - Parameters:
    ///   - name: The person's name.
    ///   - organization: The organization's name.
    /// - Throws: ``FieldsealError`` `.invalidArgument` that says what is wrong with the password.
    static func check(_ password: String, of name: String, in organization: String) throws(FieldsealError) {
        guard password.count >= minimumLength, password.utf8.count <= maximumBytes else {
            throw FieldsealError(.invalidArgument, "A password has \(minimumLength) to 1,000 characters.")
        }
        let lower = password.lowercased()
        guard !CommonPasswords.contains(lower) else {
            throw FieldsealError(
                .invalidArgument, "This password is on the list of those that attackers try first. Choose another one.")
        }
        guard !isSequence(lower) else {
            throw FieldsealError(
                .invalidArgument, "This password only repeats or counts characters, so it is easily guessed. Choose another one.")
        }
        var rest = lower
        for word in [name.lowercased(), organization, "fieldseal"] where word.count >= shortestName {
            rest = rest.replacing(word, with: "")
        }
        guard rest.count >= minimumRest else {
            throw FieldsealError(
                .invalidArgument,
                "Apart from names that anyone knows, such as the person's or the organization's, this password has only \(rest.count) "
                    + "characters. Choose another one.")
        }
    }

    /// Whether each character follows from the one before: `aaaaaaaaaa`, `abcdefghij`, `9876543210`, `abababababab`.
    private static func isSequence(_ text: String) -> Bool {
        let values = text.unicodeScalars.map { Int($0.value) }
        let steps = Set(zip(values, values.dropFirst()).map { $1 - $0 })
        if steps.count == 1, let step = steps.first, abs(step) <= 1 { return true }
        return (1...values.count / 3).contains { period in
            values.indices.dropFirst(period).allSatisfy { values[$0] == values[$0 - period] }
        }
    }
}
