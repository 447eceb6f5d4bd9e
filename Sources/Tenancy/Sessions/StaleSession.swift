import Foundation

/// What the session reused is stale. Begin it again.
package struct StaleSession: Error, Sendable {}
