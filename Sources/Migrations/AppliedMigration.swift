package import Foundation
import PostgresClient

/// One row of the ledger.
package struct AppliedMigration: Sendable {
    package let name: String
    package let checksum: String
    package let milliseconds: Int
    package let appliedOn: Date
    package let appliedBy: String

    /// - Parameter row: Name, checksum, milliseconds, time, role.
    init(_ row: PostgresRow) throws {
        name = try row.decode(0)
        checksum = try row.decode(1)
        milliseconds = try row.decode(2)
        appliedOn = try row.decode(3)
        appliedBy = try row.decode(4)
    }
}
