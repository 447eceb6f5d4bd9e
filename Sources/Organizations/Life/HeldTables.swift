import Model
import PostgresClient
import Tenancy

/// The error for a change of an organization whose tables other sessions have held for too long. ``error(_:)`` adds the session to
/// it.
struct HeldTables: Error {
    let organization: Organization
    /// What was not done, such as *removed*.
    let change: String

    /// The error for the operator.
    ///
    /// - Parameter holder: The session that held the tables; nil if it is not known.
    func error(_ holder: LockHolder?) -> FieldsealError {
        let found = holder.map { "\($0.words); \($0.ending)" } ?? "end the sessions that pg_stat_activity names for its tables"
        return FieldsealError(
            .invalidArgument,
            "\(organization.name) was not \(change): other sessions have held its tables for \(OrganizationRemoval.lockTimeout). "
                + "Nothing was changed. Do this, then run the command again: \(found).")
    }
}
