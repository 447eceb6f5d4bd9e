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
        let cause = VerificationReport.Cause(of: content, keyVersion: oldVersion)
        if case .otherKeyVersion = cause, let cell = try? Cell(content) {
            return "\(address): sealed under key version \(cell.keyVersion)"
        }
        return "\(address): \(cause.rawValue)"
    }
}
