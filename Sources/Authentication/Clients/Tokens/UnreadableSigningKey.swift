package import Foundation
import JSON

/// A token-signing key does not open.
package struct UnreadableSigningKey: Error, CustomStringConvertible {
    private let id: UUID

    package init(id: UUID) { self.id = id }

    package var description: String {
        "the token-signing key \(id.text) in config.signing_key does not open: its row was changed with SQL. Retire it: UPDATE "
            + "config.signing_key SET retired_on = now() WHERE signing_key_id = '\(id.text)'; a server makes another one"
    }
}
