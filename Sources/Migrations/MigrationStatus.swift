import Foundation
import PostgresClient

/// The status of a target.
package struct MigrationStatus: Sendable {
    package let target: MigrationTarget
    /// The applied migrations, in order.
    package let applied: [AppliedMigration]
    /// The names of the pending migrations.
    package let pending: [String]
    /// The problem: a changed file, or a database newer than the program.
    package let problem: MigrationError?

    /// The text of the problem without the target's name, which callers print before it.
    package var problemWords: String? {
        problem.map { "\($0)" }.map { $0.hasPrefix("\(target): ") ? String($0.dropFirst("\(target): ".count)) : $0 }
    }
}
