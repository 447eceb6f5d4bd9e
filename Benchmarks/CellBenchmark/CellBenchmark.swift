import CellCrypto
import Foundation

/// Prints the nanoseconds for sealing and opening a 32-byte value once. `reference.c` is the same measurement in C.
@main
enum CellBenchmark {
    static func main() throws {
        let rounds = CommandLine.arguments.dropFirst().first.flatMap(Int.init) ?? 1_000_000
        let cipher = try randomBytes(count: DataKey.length).withUnsafeBytes { try DataKey(SecretBytes(copying: $0)) }.makeCipher()
        let value = Array("an ordinary mailbox password 32b".utf8)
        let address = CellAddress(organization: UUID(), record: UUID(), attribute: "mailbox.password")
        var cell: [UInt8] = []
        var total = 0
        let duration = try ContinuousClock().measure {
            for _ in 0..<rounds {
                cell.removeAll(keepingCapacity: true)
                try value.withUnsafeBytes { try cipher.seal($0, at: address, keyVersion: 1, appendingTo: &cell) }
                total += try cell.withUnsafeBytes { try cipher.open($0, at: address) { $0.count } }
            }
        }
        precondition(total == rounds * value.count)
        print(duration / .nanoseconds(rounds))
    }
}
