package import Foundation
import JSON
package import Model
package import PostgresClient

// What a session's operations and statements need to know about the caller.
extension Session {
    /// The business unit of the user as whom the session acts.
    package var callersUnit: UUID? { caller.impersonation?.businessUnitID ?? state.callersUnit }

    /// A statement that tells the audit trigger in whose name this transaction's statements run, and which user sent them.
    package var callerSettings: (sql: String, parameters: [PostgresParameter]) { caller.auditSettings }

    /// Refuses an operation that a caller must not do for another user.
    package func requireOwnName(_ what: String) throws(FieldsealError) {
        guard caller.impersonation == nil else {
            throw FieldsealError(
                .privilegeDenied, "\(what) can't be used in the name of another user. Leave MSCRMCallerID and CallerObjectId out.")
        }
    }
}

extension Caller {
    /// A statement that tells the audit trigger in whose name this transaction's statements run, and which user sent them. For a
    /// command, the statement sets a name in place of a user.
    package var auditSettings: (sql: String, parameters: [PostgresParameter]) {
        (
            """
            SELECT set_config('fieldseal.user', $1, true), set_config('fieldseal.calling_user', $2, true),
                   set_config('fieldseal.actor', $3, true)
            """,
            [
                .text(systemUserID?.text ?? ""), .text(impersonation?.systemUserID.text ?? ""),
                .text(systemUserID == nil ? actor : ""),
            ]
        )
    }
}
