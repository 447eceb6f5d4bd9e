import Foundation
import PostgresClient

/// The status of a target.
package struct MigrationStatus: Sendable {
    package let target: MigrationTarget
    /// The applied migrations, in order.
    package let applied: [AppliedMigration]
    /// The names of the pending migrations.
    package let pending: [String]
    /// Why ledgers and program do not agree, such as a changed file or a database that is newer than the program; nil if they
    /// agree.
    package let problem: MigrationError?

    /// The text of the problem without the target's name, which callers print before it.
    package var problemWords: String? {
        problem.map { "\($0)" }.map { $0.hasPrefix("\(target): ") ? String($0.dropFirst("\(target): ".count)) : $0 }
    }
}
