/// Options of a key change.
public struct KeyChangeOptions: Sendable {
    /// Move cells that do not open to `quarantined_cell` and continue, instead of stopping.
    public var skipsUnreadable = false
    /// Called with the progress, from any thread.
    public var onProgress: (@Sendable (KeyChangeProgress) -> Void)?

    public init(skipsUnreadable: Bool = false, onProgress: (@Sendable (KeyChangeProgress) -> Void)? = nil) {
        self.skipsUnreadable = skipsUnreadable
        self.onProgress = onProgress
    }
}

/// The result of a key change.
public struct KeyChangeSummary: Sendable {
    /// The new key version.
    public let keyVersion: Int
    public let fingerprint: String
    /// How many cells were encrypted again.
    public let cells: Int
    public let duration: Duration
    /// How long writers waited at the end.
    public let pause: Duration
    /// Addresses of the cells that were moved to quarantine, each with the cause.
    public let quarantined: [String]
}

/// The result of a rehearsal. It changed nothing.
public struct KeyRehearsalSummary: Sendable {
    public let cells: Int
    public let duration: Duration
    /// Bytes of WAL that PostgreSQL wrote meanwhile, also for other sessions.
    public let walBytes: Int
    /// The duration of the last catch-up. Writers would wait about that long.
    public let lastCatchUp: Duration
    /// Addresses of the cells that do not open, each with the cause.
    public let unreadable: [String]
}
