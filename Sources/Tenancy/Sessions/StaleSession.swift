import Foundation
package import Model

/// The state that the session reused is stale. Nothing was changed. Begin a new session.
package struct StaleSession: Error, Sendable {
    /// How many attempts are made. Each attempt after the first one begins after another change of rights was committed.
    private static let attempts = 4

    /// Reads a secret, and begins again if rights change before the reading is recorded.
    ///
    /// - Parameter read: Reads the secret. The argument says whether an earlier attempt found the session stale. If rights changed,
    ///   the closure throws ``StaleSession`` before the secret leaves the server.
    package static func retrying<Secret>(_ read: (_ wasStale: Bool) async throws -> Secret) async throws -> Secret {
        for attempt in 0..<attempts {
            do {
                return try await read(attempt > 0)
            } catch is StaleSession {}
        }
        throw FieldsealError(
            .unexpected, "Rights in the organization changed \(attempts) times while a secret was read. Try again.", retryAfter: 1)
    }
}

extension FieldsealError {
    /// The refusal of a client without rights.
    package static let mayNotAct = FieldsealError(
        .accessDenied,
        "This client may not act in the organization: it is unknown or disabled, its systemuser is disabled, or its row was "
            + "not made by this service. An administrator can add one: fieldseal client add.")
}
