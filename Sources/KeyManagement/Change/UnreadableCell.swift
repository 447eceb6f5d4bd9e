import CellCrypto
import Foundation
import Model

/// A cell that the old key does not open.
struct UnreadableCell: Sendable {
    let address: CellAddress
    let entity: String
    let attribute: String
    let content: [UInt8]

    /// The address, and the cause as far as it is known.
    func description(oldVersion: Int) -> String {
        let version = content.count >= 5 ? content[1...4].reduce(0) { $0 << 8 | Int($1) } : 0
        let cause = version == oldVersion ? "damaged, or moved here from elsewhere" : "sealed under key version \(version)"
        return "\(address): \(cause)"
    }
}
