/// Options of a key change.
package struct KeyChangeOptions: Sendable {
    /// Move cells that do not open to `quarantined_cell` and continue, instead of stopping.
    package var skipsUnreadable = false
    /// Called with the progress, from any thread.
    package var onProgress: (@Sendable (KeyChangeProgress) -> Void)?

    package init(skipsUnreadable: Bool = false, onProgress: (@Sendable (KeyChangeProgress) -> Void)? = nil) {
        self.skipsUnreadable = skipsUnreadable
        self.onProgress = onProgress
    }
}

/// The result of a key change.
package struct KeyChangeSummary: Sendable {
    /// The new key version.
    package let keyVersion: Int
    package let fingerprint: String
    /// How many cells were encrypted again.
    package let cells: Int
    package let duration: Duration
    /// How long writers waited at the end.
    package let pause: Duration
    /// Addresses of the cells that were moved to quarantine, each with the cause.
    package let quarantined: [String]
}

/// The result of a rehearsal. It changed nothing.
package struct KeyRehearsalSummary: Sendable {
    package let cells: Int
    package let duration: Duration
    /// Bytes of WAL that PostgreSQL wrote meanwhile, also for other sessions.
    package let walBytes: Int
    /// The duration of the last catch-up. Writers would wait about that long.
    package let lastCatchUp: Duration
    /// Addresses of the cells that do not open, each with the cause.
    package let unreadable: [String]
}
