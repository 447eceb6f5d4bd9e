import Foundation

/// The state that the session reused is stale. Nothing was changed. Begin a new session.
package struct StaleSession: Error, Sendable {}
