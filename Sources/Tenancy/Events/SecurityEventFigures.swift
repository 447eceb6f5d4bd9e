package import MetricsFormat
import Synchronization

/// Counts the security events that this program recorded, by kind and outcome: sign-ins refused, passwords released, keys changed.
///
/// There is one instance for the program, because every operation records events.
package final class SecurityEventFigures: Sendable {
    package static let shared = SecurityEventFigures()

    private struct Name: Hashable {
        let kind: String
        let outcome: String
    }

    private let counts = Mutex<[Name: Int]>([:])

    private init() {}

    /// Counts an event that was recorded in the chain.
    package func count(_ event: SecurityEvent) {
        counts.withLock { $0[Name(kind: event.kind.rawValue, outcome: event.outcome.rawValue), default: 0] += 1 }
    }

    /// Counts an event that waits to be linked into the chain.
    package func count(_ event: PendingEvent) {
        counts.withLock { $0[Name(kind: event.kind, outcome: event.outcome), default: 0] += 1 }
    }

    /// Writes the counts as metrics.
    package func write(to text: inout MetricsText) {
        let counts = counts.withLock { $0 }
        text.counter(
            "fieldseal_security_events", "Security events that this server recorded, by kind and outcome.",
            counts.sorted { ($0.key.kind, $0.key.outcome) < ($1.key.kind, $1.key.outcome) }.map { name, count in
                .init(["kind": name.kind, "outcome": name.outcome], Double(count))
            })
    }
}
