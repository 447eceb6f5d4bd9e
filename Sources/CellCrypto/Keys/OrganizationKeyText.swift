import COpenSSL
import Foundation

/// The organization key: a text that an administrator chooses or the server generates, in NFC and UTF-8.
///
/// It is the only secret in a dump: with the salt, any cell can test a guess. It can't be printed or compared.
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
            // A text without any digit, or without any letter, would break the strength rule.
            if generated.withString({ KeyStrength.violations(of: $0).isEmpty }) { return generated }
        }
    }

    /// A text with as many letters and digits as a generated key, in a generated key's form: in upper case, with hyphens.
    ///
    /// - Returns: Nil for a text that can't be a generated key.
    public static func generatedForm(of text: String) -> String? {
        let alphabet = Set("ABCDEFGHJKLMNPQRSTUVWXYZ23456789")
        let typed = Array(text.uppercased().filter { $0 != "-" && !$0.isWhitespace })
        guard typed.count == 32, typed.allSatisfy(alphabet.contains) else { return nil }
        return stride(from: 0, to: 32, by: 4).map { String(typed[$0..<$0 + 4]) }.joined(separator: "-")
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
