import Foundation
import Testing

@testable import CellCrypto

@Suite("Cells")
struct CellTests {
    let address = CellAddress(organization: UUID(), record: UUID(), attribute: "mailbox.password")
    let key: DataKey

    init() throws {
        key = try DataKey(SecretBytes.random(count: 64))
    }

    @Test("A256CBC-HS512 computes the ciphertext and the tag of RFC 7518, appendix B.3")
    func rfc7518() throws {
        let plaintext = bytes(
            "41206369706865722073797374656d206d757374206e6f7420626520726571756972656420746f206265207365637265742c20616e64206974206d75"
                + "73742062652061626c6520746f2066616c6c20696e746f207468652068616e6473206f662074686520656e656d7920776974686f757420696e636f6e"
                + "76656e69656e6365")
        let expected =
            "4affaaadb78c31c5da4b1b590d10ffbd3dd8d5d302423526912da037ecbcc7bd822c301dd67c373bccb584ad3e9279c2e6d12a1374b77f077553df82"
            + "9410446b36ebd97066296ae6427ea75c2e0846a11a09ccf5370dc80bfecbad28c73f09b3a3b75e662a2594410ae496b2e2e6609e31e6e02cc837f053"
            + "d21f37ff4f51950bbe2638d09dd7a4930930806d0703b1f64dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5"
        let cipher = try AuthenticatedCipher(
            key: SecretBytes(count: 64) { buffer in for index in 0..<64 { buffer[index] = UInt8(index) } })
        var output = [UInt8](repeating: 0, count: AuthenticatedCipher.ciphertextLength(of: plaintext.count) + 32)
        try plaintext.withUnsafeBytes { plaintext in
            try bytes("1af38c2dc2b96ffdd86694092341bc04").withUnsafeBytes { iv in
                try Array("The second principle of Auguste Kerckhoffs".utf8).withUnsafeBytes { associatedData in
                    try output.withUnsafeMutableBytes {
                        try cipher.seal(plaintext, iv: iv, associatedData: associatedData, into: $0)
                    }
                }
            }
        }
        #expect(hexadecimal(output) == expected)
    }

    @Test("A cell with any one bit flipped does not open")
    func bitFlips() throws {
        let cell = try key.seal("correct horse", at: address, keyVersion: 7).bytes
        for bit in 0..<(cell.count * 8) {
            var damaged = cell
            damaged[bit / 8] ^= 1 << (bit % 8)
            #expect(throws: CellError()) { try key.open(damaged, at: address) }
        }
    }

    @Test("A cell that was cut or extended does not open")
    func lengths() throws {
        let cell = try key.seal("correct horse battery staple", at: address, keyVersion: 7).bytes
        for length in 0..<cell.count { #expect(throws: CellError()) { try key.open(Array(cell.prefix(length)), at: address) } }
        for extra in 1...64 {
            #expect(throws: CellError()) { try key.open(cell + [UInt8](repeating: 0, count: extra), at: address) }
        }
    }

    @Test("A cell moved to another record, organization or attribute does not open")
    func moves() throws {
        let cell = try key.seal("s3cret", at: address, keyVersion: 1).bytes
        for other in [
            CellAddress(organization: UUID(), record: address.record, attribute: address.attribute),
            CellAddress(organization: address.organization, record: UUID(), attribute: address.attribute),
            CellAddress(organization: address.organization, record: address.record, attribute: "queue.emailpassword"),
        ] {
            #expect(throws: CellError()) { try key.open(cell, at: other) }
        }
        #expect(throws: CellError()) { try DataKey(SecretBytes.random(count: 64)).open(cell, at: address) }
    }

    @Test("Sealing the same value again gives a different cell with a different IV", arguments: [0, 1, 31, 32, 33, 10_000])
    func freshness(length: Int) throws {
        let text = String(repeating: "x", count: length)
        let cells = try (0..<200).map { _ in try key.seal(text, at: address, keyVersion: 1) }
        #expect(Set(cells.map(\.bytes)).count == 200)
        #expect(Set(cells.map { $0.bytes[5..<21] }).count == 200)
        #expect(cells.allSatisfy { $0.bytes.count == Cell.length(ofPlaintext: length) && $0.bytes.count % 16 == 5 })
        try key.open(cells[199].bytes, at: address).withBytes { #expect($0.count == length) }
    }

    @Test("Many threads can seal and open with one key at the same time")
    func concurrency() async throws {
        let key = key
        let address = address
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<16 {
                group.addTask {
                    for number in 0..<200 {
                        let text = "\(task).\(number)"
                        let cell = try key.seal(text, at: address, keyVersion: 1)
                        try key.open(cell.bytes, at: address).withBytes { #expect(Array($0) == Array(text.utf8)) }
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    @Test("Only the key that sealed a key check opens it, and only for the same organization")
    func keyCheck() throws {
        let organization = UUID()
        let cell = try KeyCheck.seal(under: key, organization: organization, keyVersion: 3).bytes
        #expect(KeyCheck.isOpened(cell, by: key, organization: organization))
        #expect(!KeyCheck.isOpened(cell, by: try DataKey(SecretBytes.random(count: 64)), organization: organization))
        #expect(!KeyCheck.isOpened(cell, by: key, organization: UUID()))
    }

    @Test("Secrets can't be printed")
    func printing() throws {
        let text = OrganizationKeyText("Abcdefghij1!")
        let secret = Array("Abcdefghij1!".utf8).withUnsafeBytes { SecretBytes(copying: $0) }
        for value in [text, secret, key] as [Any] {
            for shown in ["\(value)", String(reflecting: value), "\(Mirror(reflecting: value).children.map { "\($0)" })"] {
                #expect(!shown.contains("Abcdefghij1!"))
            }
        }
        var dumped = ""
        dump(secret, to: &dumped)
        #expect(!dumped.contains("65"))
    }

    @Test("secureWipe overwrites every byte of a buffer with zeros")
    func wiping() throws {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 16)
        defer { buffer.deallocate() }
        buffer.copyBytes(from: (0..<64).map { _ in UInt8(0xAA) })
        secureWipe(buffer)
        #expect(buffer.allSatisfy { $0 == 0 })
    }
}
