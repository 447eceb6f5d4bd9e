import CellCrypto
import Foundation
import Testing

@Suite("A program with two key-encryption keys, as during a rotation")
struct KeyRotationTests {
    private let address = CellAddress(organization: UUID(), record: UUID(), attribute: "test.secret")
    private let fields: [[UInt8]] = [[1], [2, 3]]

    private func kek() throws -> KeyEncryptionKey { try KeyEncryptionKey(.random(count: KeyEncryptionKey.length)) }

    private func secret(_ text: String) -> SecretBytes {
        Array(text.utf8).withUnsafeBytes { SecretBytes(copying: $0) }
    }

    @Test("With two keys, cells and tags of both are accepted, and only the first key seals and tags")
    func twoKeys() throws {
        let (old, new) = (try kek(), try kek())
        let both = old.accepting(new)
        #expect(both.ids == [old.id, new.id])
        for kek in [old, new] {
            let cell = try kek.seal(secret("a"), at: address).bytes
            #expect(try both.open(cell, at: address).isEqual(to: secret("a")))
            #expect(try both.accepts(kek.tag(label: "x", over: fields), label: "x", over: fields))
        }
        let cell = try both.seal(secret("b"), at: address).bytes
        #expect(throws: CellError.self) { try new.open(cell, at: address) }
        #expect(try old.open(cell, at: address).isEqual(to: secret("b")))
        #expect(try both.tag(label: "x", over: fields) == old.tag(label: "x", over: fields))
    }

    @Test("A member of several keys seals with its own key, and accepts cells and tags of the others")
    func member() throws {
        let (old, new, third) = (try kek(), try kek(), try kek())
        let member = try #require(old.accepting(new).accepting(third).member(new.id))
        #expect(member.id == new.id && Set(member.ids) == [old.id, new.id, third.id])
        let cell = try member.seal(secret("c"), at: address).bytes
        #expect(try new.open(cell, at: address).isEqual(to: secret("c")))
        #expect(try member.accepts(third.tag(label: "x", over: fields), label: "x", over: fields))
        #expect(old.member(new.id) == nil)
        // Each key in `each` knows no other key.
        for one in member.each { #expect(one.ids == [one.id]) }
    }

    @Test("Cells and tags of a removed key are not accepted")
    func removed() throws {
        let (old, new) = (try kek(), try kek())
        let both = old.accepting(new)
        let left = try #require(both.remaining(without: [old.id]))
        #expect(left.ids == [new.id])
        let cell = try old.seal(secret("d"), at: address).bytes
        #expect(throws: CellError.self) { try left.open(cell, at: address) }
        #expect(try !left.accepts(old.tag(label: "x", over: fields), label: "x", over: fields))
        #expect(both.remaining(without: [old.id, new.id]) == nil)
        #expect(try #require(both.remaining(without: [])).ids == both.ids)
        // If the same key is added twice, it counts once.
        #expect(old.accepting(old).ids == [old.id])
    }

    @Test("The tag key for a label makes the same tags as the key-encryption key")
    func tagKey() throws {
        let kek = try kek()
        #expect(try KeyEncryptionKey.tag(under: kek.tagKey(label: "x"), over: fields) == kek.tag(label: "x", over: fields))
        #expect(try KeyEncryptionKey.tag(under: kek.tagKey(label: "y"), over: fields) != kek.tag(label: "x", over: fields))
    }

    @Test("The crypto library passes the self-test, and the provider of each algorithm is known")
    func selfTest() throws {
        try CryptoLibrary.selfTest()
        #expect(CryptoLibrary.sources.allSatisfy { $0.provider != nil })
    }
}
