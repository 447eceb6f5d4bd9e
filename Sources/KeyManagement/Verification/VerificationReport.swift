import CellCrypto
import Foundation
import Model
import PostgresClient
import Tenancy

/// The result of opening every cell.
package struct VerificationReport: Sendable {
    /// A cell that does not open.
    package struct BadCell: Sendable {
        /// For example `mailbox(6f0e…).password`.
        package let address: String
        package let cause: Cause
        /// The place for which the cell was sealed, if it was found.
        package var origin: String?
    }

    /// The reason why a cell does not open, as far as its bytes show it.
    package enum Cause: String, Sendable {
        case notACell = "not a cell"
        case otherKeyVersion = "sealed under another key version"
        case damagedOrMoved = "damaged, or moved here from another place"

        /// - Parameters:
        ///   - content: The bytes of a cell that does not open.
        ///   - keyVersion: The key version in force.
        init(of content: [UInt8], keyVersion: Int) {
            if let cell = try? Cell(content) {
                self = Int(cell.keyVersion) == keyVersion ? .damagedOrMoved : .otherKeyVersion
            } else {
                self = .notACell
            }
        }
    }

    package let organization: String
    package let keyVersion: Int
    package let cells: Int
    package let bad: [BadCell]
    /// Records whose flags and cells disagree.
    package let mismatches: [FlagMismatch]

    /// Whether nothing is wrong.
    package var isClean: Bool { bad.isEmpty && mismatches.isEmpty }
}
