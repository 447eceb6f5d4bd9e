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
}
