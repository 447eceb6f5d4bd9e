import COpenSSL
import Foundation

/// The organization key: a text that an administrator chooses or the server generates, in NFC and UTF-8.
///
/// The key's text is the only secret that an attacker with a dump lacks: the dump has the salt, and any cell shows whether a guess
/// is right. A value of this type can't be printed or compared.
public final class OrganizationKeyText: Sendable {
    private let utf8: SecretBytes

    /// Accepts any text, normalized to NFC. An existing key is tested by opening the key check, not by today's rule.
    public init(_ text: String) {
        var normalized = text.precomposedStringWithCanonicalMapping
        utf8 = normalized.withUTF8 { SecretBytes(copying: UnsafeRawBufferPointer($0)) }
    }

    /// Accepts a text for a new key.
    ///
    /// - Throws: ``KeyStrengthError`` with every part of the rule that the text breaks.
    public convenience init(new text: String) throws(KeyStrengthError) {
        try KeyStrength.check(text)
        self.init(text)
    }

    init(normalized utf8: SecretBytes) { self.utf8 = utf8 }

    /// A new key of 160 random bits: eight groups of four letters and digits, joined by hyphens.
    ///
    /// The 32 characters exclude those that are easily confused (0, O, 1, I).
    public static func generate() throws(CryptoLibraryError) -> OrganizationKeyText {
        let alphabet = Array("ABCDEFGHJKLMNPQRSTUVWXYZ23456789".utf8)
        while true {
            let random = try SecretBytes.random(count: 32)
            let text = SecretBytes(count: 39) { output in
                random.withBytes { random in
                    for (index, byte) in random.enumerated() {
                        output[index + index / 4] = alphabet[Int(byte & 31)]
                        if index % 4 == 3, index < 31 { output[index + index / 4 + 1] = UInt8(ascii: "-") }
                    }
                }
            }
            let generated = OrganizationKeyText(normalized: text)
            // The rare result without any digit, or without any letter, would break the strength rule.
            if generated.withString({ KeyStrength.violations(of: $0).isEmpty }) { return generated }
        }
    }

    /// Converts a typed generated key to its exact form: in upper case, with hyphens.
    ///
    /// - Returns: Nil for a text that can't be a generated key.
    public static func generatedForm(of text: String) -> String? {
        let alphabet = Set("ABCDEFGHJKLMNPQRSTUVWXYZ23456789")
        let typed = Array(text.uppercased().filter { $0 != "-" && !$0.isWhitespace })
        guard typed.count == 32, typed.allSatisfy(alphabet.contains) else { return nil }
        return stride(from: 0, to: 32, by: 4).map { String(typed[$0..<$0 + 4]) }.joined(separator: "-")
    }

    /// Removes the line numbers and check characters from a text that was typed from a recovery sheet.
    public static func withoutSheetMarks(_ text: String) throws -> String {
        var lines = ""
        for line in text.split(whereSeparator: \.isNewline) { lines += try withoutMarks(line) }
        return lines
    }

    /// The numbers of lines, typed from a recovery sheet, whose check characters do not match the line.
    public static func linesWithMistakes(in text: String) throws -> [Int] {
        var wrong: [Int] = []
        let lines = text.split(whereSeparator: \.isNewline).filter { !$0.allSatisfy(\.isWhitespace) }
        for (index, line) in lines.enumerated() {
            guard let typed = line.split(whereSeparator: \.isWhitespace).last?.uppercased(), typed.count == 2 else { continue }
            let generated = try withoutMarks(line).uppercased().filter { $0 != "-" }
            if try generated.count == lineLength && check(ofLine: generated) != typed { wrong.append(index + 1) }
        }
        return wrong
    }

    /// The two check characters for a line of a recovery sheet. For a generated key, pass the line in upper case and without
    /// hyphens.
    public static func check(ofLine line: String) throws(CryptoLibraryError) -> String {
        let alphabet = Array("ABCDEFGHJKLMNPQRSTUVWXYZ23456789")
        let digest = try sha256(Array(line.utf8))
        return String([alphabet[Int(digest[0] & 31)], alphabet[Int(digest[1] & 31)]])
    }

    /// In a line of a recovery sheet: the number of letters and digits of a generated key, and the maximum number of words after
    /// them, such as "Check" and the check characters.
    private static let lineLength = 16
    private static let markWords = 4

    private static func withoutMarks(_ line: Substring) throws -> String {
        var words = line.split(whereSeparator: \.isWhitespace)
        if let first = words.first, words.count > 1, first.count <= 2, first.allSatisfy({ "0123456789.".contains($0) }) {
            words.removeFirst()
        }
        for marks in 1...markWords where marks < words.count {
            let rest = words.dropLast(marks).joined()
            let generated = rest.uppercased().filter { $0 != "-" }
            let typed = words[words.count - 1].uppercased()
            // If the line has a typing error, its check characters do not match. They are still removed if the line is complete
            // without them.
            let isWhole: Bool = generated.count == lineLength && typed.count == 2
            if try isWhole || check(ofLine: rest) == typed || check(ofLine: generated) == typed { return rest }
        }
        return words.joined()
    }

    /// Passes the text's UTF-8 to a closure.
    public func withUTF8<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try utf8.withBytes(body)
    }

    /// Passes the text to a closure as a `String`, a copy that Swift does not wipe. Use it only for a response with the key, and in
    /// tests.
    public func withString<Result>(_ body: (String) throws -> Result) rethrows -> Result {
        try body(utf8.withBytes { String(decoding: $0, as: UTF8.self) })
    }
}
