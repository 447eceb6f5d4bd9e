package import Foundation
import PostgresClient

/// A target of migrations: the deployment, or one organization's schema.
package enum MigrationTarget: Sendable, Hashable, CustomStringConvertible {
    case config
    case organization(id: UUID, name: String, schema: String)

    var scope: Migration.Scope {
        switch self {
        case .config: .config
        case .organization: .organization
        }
    }

    var organizationID: UUID? {
        if case .organization(let id, _, _) = self { id } else { nil }
    }

    /// `config`, or the organization's name.
    package var description: String {
        switch self {
        case .config: "config"
        case .organization(_, let name, _): name
        }
    }
}

/// The status of a target.
package struct MigrationStatus: Sendable {
    package let target: MigrationTarget
    /// What is applied, in order.
    package let applied: [AppliedMigration]
    /// The names of the pending migrations.
    package let pending: [String]
    /// The problem: a changed file, or a database newer than the program.
    package let problem: MigrationError?
}

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
