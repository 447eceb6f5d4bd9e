import Foundation
import Testing

@testable import CellCrypto

@Suite("Memory for secrets")
struct SecretMemoryTests {
    @Test("Blocks of all sizes do not overlap, keep their contents, and contain only zeros when they are reused")
    func blocks() {
        for count in [0, 1, 63, 64, 65, 4_096, 4_097, 100_000] {
            let secrets = (0..<200).map { number in
                SecretBytes(count: count) { buffer in
                    #expect(buffer.allSatisfy { $0 == 0 })
                    buffer.initializeMemory(as: UInt8.self, repeating: UInt8(number))
                }
            }
            for (number, secret) in secrets.enumerated() {
                #expect(secret.withBytes { $0.count == count && $0.allSatisfy { $0 == UInt8(number) } })
            }
        }
    }

    @Test("Threads that allocate and free secrets at the same time do not get each other's blocks")
    func threads() async {
        await withTaskGroup(of: Bool.self) { group in
            for number in 0..<8 {
                group.addTask {
                    (0..<2_000).allSatisfy { round in
                        let secret = SecretBytes(count: 1 + round % 300) {
                            $0.initializeMemory(as: UInt8.self, repeating: UInt8(number))
                        }
                        return secret.withBytes { $0.allSatisfy { $0 == UInt8(number) } }
                    }
                }
            }
            for await isWhole in group { #expect(isWhole) }
        }
    }
}
