import Foundation
package import Model

/// The state that the session reused is stale. Nothing was changed. Begin a new session.
package struct StaleSession: Error, Sendable {}

extension FieldsealError {
    /// The error of a secret's reader that began anew so often because of ``StaleSession``.
    package static func rightsChanged(times attempts: Int) -> FieldsealError {
        FieldsealError(
            .unexpected, "Rights in the organization changed \(attempts) times while a secret was read. Try again.", retryAfter: 1)
    }

    /// The refusal of a client without rights.
    package static let mayNotAct = FieldsealError(
        .accessDenied,
        "This client may not act in the organization: it is unknown or disabled, its systemuser is disabled, or its row was "
            + "not made by this service. An administrator can add one: fieldseal client add.")
}
