import Foundation
import Testing

@testable import CellCrypto

/// The test vectors in `Tests/Fixtures/cells.json`, which other implementations of the cell format can use too.
private struct Vectors: Decodable {
    struct Derivation: Decodable, CustomTestStringConvertible {
        let name, text, salt, dataKey, fingerprint: String
        let iterations: Int
        var testDescription: String { name }
    }
    struct Open: Decodable, CustomTestStringConvertible {
        let name, key, record, organization, attribute, iv, plaintext, cell: String
        let keyVersion: UInt32
        var testDescription: String { name }
    }
    struct Refuse: Decodable, CustomTestStringConvertible {
        let name, key, record, organization, attribute, cell: String
        var testDescription: String { name }
    }

    let keyDerivation: [Derivation]
    let open: [Open]
    let refuse: [Refuse]

    static let all: Vectors = {
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../Fixtures/cells.json")
        do {
            return try JSONDecoder().decode(Vectors.self, from: Data(contentsOf: file))
        } catch {
            preconditionFailure("cells.json: \(error)")
        }
    }()
}

@Suite("Vectors of the cell format")
struct VectorTests {
    @Test("The file has a minimum number of vectors of each kind")
    func completeness() {
        #expect(Vectors.all.keyDerivation.count >= 5)
        #expect(Vectors.all.open.count >= 15)
        #expect(Vectors.all.refuse.count >= 25)
    }

    @Test(
        "The data key and the fingerprint derived from each vector's text are those of the vector",
        arguments: Vectors.all.keyDerivation)
    fileprivate func derivation(_ vector: Vectors.Derivation) throws {
        let key = try DataKey(
            derivedFrom: OrganizationKeyText(vector.text), salt: bytes(vector.salt), iterations: vector.iterations)
        key.withBytes { #expect(hexadecimal($0) == vector.dataKey) }
        #expect(key.fingerprint == vector.fingerprint)
    }

    @Test("A valid cell opens, and sealing its value again with the same IV gives the same bytes", arguments: Vectors.all.open)
    fileprivate func open(_ vector: Vectors.Open) throws {
        let key = try DataKey(secret(vector.key))
        let address = try address(vector.organization, vector.record, vector.attribute)
        let opened = try key.open(bytes(vector.cell), at: address)
        opened.withBytes { #expect(hexadecimal($0) == vector.plaintext) }
        #expect(try Cell(bytes(vector.cell)).keyVersion == vector.keyVersion)

        var sealed: [UInt8] = []
        try key.withCipher { cipher in
            try bytes(vector.plaintext).withUnsafeBytes { plaintext in
                try bytes(vector.iv).withUnsafeBytes { iv in
                    try cipher.seal(plaintext, at: address, keyVersion: vector.keyVersion, iv: iv, appendingTo: &sealed)
                }
            }
        }
        #expect(hexadecimal(sealed) == vector.cell)
    }

    @Test("Every invalid cell is refused with the same error", arguments: Vectors.all.refuse)
    fileprivate func refuse(_ vector: Vectors.Refuse) throws {
        let key = try DataKey(secret(vector.key))
        let address = try address(vector.organization, vector.record, vector.attribute)
        #expect(throws: CellError()) { try key.open(bytes(vector.cell), at: address) }
    }
}

func bytes(_ hexadecimal: String) -> [UInt8] {
    let digits = Array(hexadecimal.utf8).map { $0 >= 97 ? $0 - 87 : $0 - 48 }
    return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

func secret(_ hexadecimal: String) -> SecretBytes {
    bytes(hexadecimal).withUnsafeBytes { SecretBytes(copying: $0) }
}

private func address(_ organization: String, _ record: String, _ attribute: String) throws -> CellAddress {
    CellAddress(
        organization: try #require(UUID(uuidString: organization)), record: try #require(UUID(uuidString: record)),
        attribute: attribute)
}
