import CellCrypto
import Foundation
import Testing

@testable import Tenancy

/// The account that a name of a person is counted as.
@Suite("The counts of failed sign-ins")
struct AttemptLimiterTests {
    private func account(_ name: String, _ organization: UUID, _ kek: KeyEncryptionKey) throws -> String? {
        guard case .account(let account) = try AttemptLimiter.name(name, in: organization, under: kek) else { return nil }
        return account
    }

    @Test("A name is counted under the key-encryption key: in any case, per organization, and not in clear")
    func names() throws {
        let kek = try KeyEncryptionKey(SecretBytes.random(count: 64))
        let other = try KeyEncryptionKey(SecretBytes.random(count: 64))
        let (first, second) = (UUID(), UUID())
        let ada = try #require(try account("Ada", first, kek))
        #expect(try account("ada", first, kek) == ada && !ada.lowercased().hasSuffix("ada"))
        // Removing an organization finds the counts of its people by the organization's id.
        #expect(ada.lowercased().contains(first.uuidString.lowercased()))
        // Without the key-encryption key, an attacker can't compute which names share a count. None do.
        #expect(try account("ada", first, other) != ada && account("ada", second, kek) != ada)
        #expect(try Set((0..<1_000).map { try account("name \($0)", first, kek) }).count == 1_000)
    }
}
