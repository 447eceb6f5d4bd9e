package import Foundation
import JSON
package import Model
package import PostgresClient

// What the statements of a session say of its caller.
extension Session {
    /// The business unit of the user that the session acts as.
    package var callersUnit: UUID? { caller.impersonation?.businessUnitID ?? state.callersUnit }

    /// Tells the audit in whose name the statements of this transaction are, and who sent them.
    package var callerSettings: (sql: String, parameters: [PostgresParameter]) {
        (
            "SELECT set_config('fieldseal.user', $1, true), set_config('fieldseal.calling_user', $2, true)",
            [.text(caller.systemUserID?.text ?? ""), .text(caller.impersonation?.systemUserID.text ?? "")]
        )
    }

    /// Refuses what a caller must do in its own name.
    package func requireOwnName(_ what: String) throws(FieldsealError) {
        guard caller.impersonation == nil else {
            throw FieldsealError(
                .privilegeDenied, "\(what) can't be used in the name of another user. Leave MSCRMCallerID and CallerObjectId out.")
        }
    }
}
