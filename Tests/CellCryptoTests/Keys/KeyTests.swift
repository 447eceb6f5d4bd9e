import Foundation
import Testing

@testable import CellCrypto

@Suite("Keys")
struct KeyTests {
    @Test(
        "A key that follows the rule is accepted",
        arguments: ["Abcdefghi1!", "пароль-номер-1", "鍵の文字列-2026", String(repeating: "a", count: 98) + "1!"])
    func strong(text: String) {
        #expect(KeyStrength.violations(of: text).isEmpty)
    }

    @Test(
        "A key that breaks one part of the rule is refused with that part",
        arguments: [
            ("Abcdefg1!", KeyStrength.Violation.tooShort), (String(repeating: "a", count: 99) + "1!", .tooLong),
            ("Abcdefghij!", .noNumeral), ("1234567890!", .noLetter), ("Abcdefghij1", .noSymbol), ("Abcdefg hij1!", .whiteSpace),
            ("Abcdefg\u{A0}hij1!", .whiteSpace), ("Abcdefg\u{7}hij1!", .whiteSpace), ("Abcdefghij1!\n", .whiteSpace),
            ("Abcdefg\u{200B}hij1!", .invisible), ("Abcdefghij1!\u{202E}", .invisible), ("\u{FEFF}Abcdefghij1!", .invisible),
            ("Abc\u{AD}defghij1!", .invisible), ("Abcdefghij1!\u{FE0F}", .invisible), ("Abcdefghij1!\u{E000}", .invisible),
            ("Abcdefghij1!\u{3164}", .invisible), ("Abcdefghij1!\u{E0041}", .invisible), ("Abcdefghij1!\u{378}", .invisible),
        ])
    func weak(text: String, violation: KeyStrength.Violation) {
        #expect(KeyStrength.violations(of: text) == [violation])
        #expect(throws: KeyStrengthError.self) { try OrganizationKeyText(new: text) }
    }

    @Test("The length of a key counts Unicode scalars after NFC")
    func length() {
        // In NFC, the letter u and its diaeresis are one scalar. So the first text has ten scalars, and the second has nine.
        #expect(KeyStrength.violations(of: "u\u{308}bcdefgh1!") == [])
        #expect(KeyStrength.violations(of: "u\u{308}bcdefg1!") == [.tooShort])
    }

    @Test("A text with composed letters and the same text with decomposed letters are the same key")
    func normalization() throws {
        let salt = [UInt8](repeating: 1, count: 32)
        let composed = try DataKey(derivedFrom: OrganizationKeyText("Schl\u{FC}ssel-1"), salt: salt, iterations: 10)
        let decomposed = try DataKey(derivedFrom: OrganizationKeyText("Schlu\u{308}ssel-1"), salt: salt, iterations: 10)
        #expect(composed.fingerprint == decomposed.fingerprint)
    }

    @Test("Generated keys follow the rule, have eight groups of four characters, and are all different")
    func generated() throws {
        var texts: Set<String> = []
        for _ in 0..<500 {
            try OrganizationKeyText.generate().withString { text in
                #expect(KeyStrength.violations(of: text).isEmpty)
                #expect(KeyStrength.weakness(of: text) == nil)
                #expect(text.wholeMatch(of: /([A-HJ-NP-Z2-9]{4}-){7}[A-HJ-NP-Z2-9]{4}/) != nil)
                texts.insert(text)
            }
        }
        #expect(texts.count == 500)
    }

    @Test(
        "An allowed key that looks guessable gets a warning",
        arguments: ["Password-12345678", "aaaaaaaa-1111111", "abcdefghijklmnop-1", "Short-key1!"])
    func guessable(text: String) {
        #expect(KeyStrength.violations(of: text).isEmpty)
        #expect(KeyStrength.weakness(of: text) != nil)
    }

    @Test(
        "An iteration count or a salt length that is out of range is refused",
        arguments: [(0, 32), (10_000_001, 32), (1_000, 31), (1_000, 0)])
    func bounds(iterations: Int, salt: Int) {
        #expect(throws: KeyDerivationError.self) {
            try DataKey(derivedFrom: OrganizationKeyText("x"), salt: [UInt8](repeating: 0, count: salt), iterations: iterations)
        }
    }

    @Test("A generated key is recognized without hyphens and in lower case; any other text is not a generated key")
    func typedKeys() throws {
        let key = try OrganizationKeyText.generate().withString { $0 }
        for typed in [key, key.lowercased(), key.filter { $0 != "-" }, key.replacingOccurrences(of: "-", with: " - ")] {
            #expect(OrganizationKeyText.generatedForm(of: typed) == key)
        }
        for other in ["", "A-key-of-one's-own-1!", String(key.dropLast()), key + "A", key.dropLast() + "0"] {
            #expect(OrganizationKeyText.generatedForm(of: other) == nil)
        }
    }

    @Test("Line numbers and check characters of a recovery sheet are removed; a line without them stays unchanged")
    func sheetLines() throws {
        for line in ["7GMX-KZE4-FUCH-CT88", "own#key-of-one's-1"] {
            let check = try OrganizationKeyText.check(ofLine: line.filter { $0 != "-" || line.contains("#") })
            for typed in [
                "1 \(line) Check \(check)", "\(line) \(check.lowercased())", "2. \(line)", "1 \(line) the check \(check)", line,
            ] {
                #expect(try OrganizationKeyText.withoutSheetMarks(typed) == line)
            }
        }
        // The check characters do not match a line with a typing error.
        #expect(try OrganizationKeyText.withoutSheetMarks("1 7gmx- kze4- fuch- ct89- check gd") == "7gmx-kze4-fuch-ct89-")
        for line in ["A key with 12", "1", "12", "A-key-1!"] {
            #expect(try OrganizationKeyText.withoutSheetMarks(line) == line.filter { $0 != " " })
        }
    }

    @Test("Only a typed line whose check characters do not match it is reported")
    func linesWithMistakes() throws {
        let lines = try ["7GMX-KZE4-FUCH-CT88", "QWER-TYUP-ASDF-GHJK"].map { line in
            "\(line) Check \(try OrganizationKeyText.check(ofLine: line.filter { $0 != "-" }))"
        }
        let wrong = lines.map { $0.replacingOccurrences(of: "F", with: "E") }
        #expect(try OrganizationKeyText.linesWithMistakes(in: lines.joined(separator: "\n")).isEmpty)
        #expect(try OrganizationKeyText.linesWithMistakes(in: "1 \(lines[0])\n\n2. \(wrong[1].lowercased())") == [2])
        #expect(try OrganizationKeyText.linesWithMistakes(in: wrong.joined(separator: "\r\n")) == [1, 2])
        // Without check characters, or for a key that was not generated, no mistake is found.
        #expect(try OrganizationKeyText.linesWithMistakes(in: "7GMX-KZE4-FUCH-CT88\nown#key of-1 xy").isEmpty)
    }

    @Test("A wrapped key can be unwrapped only with its KEK, and only for its organization and key version")
    func wrapping() throws {
        let kek = try KeyEncryptionKey(SecretBytes.random(count: 64))
        let organization = UUID()
        let key = try DataKey(SecretBytes.random(count: 64))
        let data = try kek.wrap(key, organization: organization, keyVersion: 4).bytes
        let text = try kek.wrap(OrganizationKeyText("Abcdefghij1!"), organization: organization, keyVersion: 4).bytes
        #expect(try kek.unwrapData(data, organization: organization, keyVersion: 4).fingerprint == key.fingerprint)
        try kek.unwrapText(text, organization: organization, keyVersion: 4).withString { #expect($0 == "Abcdefghij1!") }

        let other = try KeyEncryptionKey(SecretBytes.random(count: 64))
        #expect(throws: CellError()) { try other.unwrapData(data, organization: organization, keyVersion: 4) }
        #expect(throws: CellError()) { try kek.unwrapData(data, organization: UUID(), keyVersion: 4) }
        #expect(throws: CellError()) { try kek.unwrapData(data, organization: organization, keyVersion: 5) }
        #expect(throws: CellError()) { try kek.unwrapData(text, organization: organization, keyVersion: 4) }
        #expect(throws: CellError()) { try kek.unwrapText(data, organization: organization, keyVersion: 4) }
    }

    @Test("A tag depends on the key, the label, and the division of the bytes into fields")
    func tags() throws {
        let kek = try KeyEncryptionKey(SecretBytes.random(count: 64))
        let tag = try kek.tag(label: "client", over: [[1, 2], [3]])
        #expect(tag.count == 32)
        #expect(try kek.tag(label: "client", over: [[1, 2], [3]]) == tag)
        #expect(try kek.tag(label: "client", over: [[1], [2, 3]]) != tag)
        #expect(try kek.tag(label: "secret", over: [[1, 2], [3]]) != tag)
        #expect(try KeyEncryptionKey(SecretBytes.random(count: 64)).tag(label: "client", over: [[1, 2], [3]]) != tag)
    }
}
