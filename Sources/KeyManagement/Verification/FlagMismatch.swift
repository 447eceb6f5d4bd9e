import Foundation
import JSON
import Model
package import PostgresClient
package import Tenancy

/// A record whose flag does not match its cells: the flag says that a password is set, but there is no cell, or the reverse.
package struct FlagMismatch: Sendable {
    /// For example `mailbox(6f0e…).password`.
    package let address: String
    /// Whether there is a cell. The flag says the opposite.
    package let hasCell: Bool

    /// The problem, as the end of a sentence that begins with the address.
    package var description: String {
        hasCell
            ? "a password is stored, but the record says that none is set"
            : "the record says that a password is set, but none is stored"
    }

    /// How many mismatches are listed at most.
    static let limit = 1_000

    /// Compares the flags of every record with the cells of the current key version.
    package static func all(in state: OrganizationState, on connection: isolated PostgresConnection) throws -> [FlagMismatch] {
        var found: [FlagMismatch] = []
        for entity in EntityCatalog.withCells {
            for (attribute, flag) in entity.isSetColumns.sorted(by: { $0.key < $1.key }) {
                let cell = "c.\(quoteIdentifier(attribute))"
                let rows = try connection.query(
                    """
                    SELECT r.\(entity.idColumn), \(cell) IS NOT NULL FROM \(state.organization.qualified(entity.logicalName)) AS r
                      LEFT JOIN \(state.organization.qualified(entity.cellTable)) AS c
                        ON c.key_version = $1 AND c.\(entity.idColumn) = r.\(entity.idColumn)
                     WHERE coalesce(r.\(quoteIdentifier(flag)), false) <> (\(cell) IS NOT NULL) LIMIT \(limit)
                    """, [.int32(Int32(state.keyVersion))])
                found += try rows.map { row in
                    FlagMismatch(
                        address: "\(entity.logicalName)(\(try row.decode(0, as: UUID.self).text)).\(attribute)",
                        hasCell: try row.decode(1))
                }
            }
        }
        return found
    }
}
