import CellCrypto
import Foundation
import Testing

@testable import Tenancy

/// Tests the account under which failed sign-ins with a person's name are counted.
@Suite("The counts of failed sign-ins")
struct AttemptLimiterTests {
    private func account(_ name: String, _ organization: UUID, _ kek: KeyEncryptionKey) throws -> String? {
        guard case .account(let account) = try AttemptLimiter.name(name, in: organization, under: kek) else { return nil }
        return account
    }

    @Test("A name's account is a hash under the key-encryption key, per organization, and the same for any case of the name")
    func names() throws {
        let kek = try KeyEncryptionKey(SecretBytes.random(count: 64))
        let other = try KeyEncryptionKey(SecretBytes.random(count: 64))
        let (first, second) = (UUID(), UUID())
        let ada = try #require(try account("Ada", first, kek))
        #expect(try account("ada", first, kek) == ada && !ada.lowercased().hasSuffix("ada"))
        // Removing an organization finds the counts of its people by the organization's id.
        #expect(ada.lowercased().contains(first.uuidString.lowercased()))
        // The hash depends on the key-encryption key, so an attacker can't compute it. Different names have different hashes.
        #expect(try account("ada", first, other) != ada && account("ada", second, kek) != ada)
        #expect(try Set((0..<1_000).map { try account("name \($0)", first, kek) }).count == 1_000)
    }
    @Test(
        "Spellings that PostgreSQL takes for one name, in any locale, have one account",
        arguments: [
            ["mini", "MINI", "m\u{130}ni", "M\u{130}N\u{130}", "m\u{131}n\u{131}", "mi\u{307}ni"],
            ["νικος", "νικοσ", "ΝΙΚΟΣ"], ["kate", "KATE", "\u{212A}ate"], ["straße", "STRA\u{1E9E}E"],
            ["\u{E5}sa", "\u{C5}SA", "\u{212B}sa", "A\u{30A}sa"],
        ])
    func spellings(_ names: [String]) throws {
        let (kek, organization) = (try KeyEncryptionKey(SecretBytes.random(count: 64)), UUID())
        #expect(Set(names.map(AttemptLimiter.folded)).count == 1)
        let accounts = try names.map { try #require(try account($0, organization, kek)) }
        #expect(Set(accounts).count == 1)
    }

    @Test("Names that differ in a letter, a digit or a space have separate accounts")
    func otherNames() {
        let names = ["mini", "mina", "minii", "min", "mi ni", "mini1", "mini2", "νικος", "νικο", "ß", "s", ""]
        #expect(Set(names.map(AttemptLimiter.folded)).count == names.count)
    }
}
