import Foundation
package import Model

/// The state that the session reused is stale. Nothing was changed. Begin a new session.
package struct StaleSession: Error, Sendable {}

extension FieldsealError {
    /// The refusal of a client without rights.
    package static let mayNotAct = FieldsealError(
        .accessDenied,
        "This client may not act in the organization: it is unknown or disabled, its systemuser is disabled, or its row was "
            + "not made by this service. An administrator can add one: fieldseal client add.")
}
