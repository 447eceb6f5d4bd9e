/// What a change is asked for.
public struct KeyChangeOptions: Sendable {
    /// Move cells that do not open to `quarantined_cell` and go on, instead of stopping.
    public var skipsUnreadable = false
    /// Hears of the progress, from any thread.
    public var onProgress: (@Sendable (KeyChangeProgress) -> Void)?

    public init(skipsUnreadable: Bool = false, onProgress: (@Sendable (KeyChangeProgress) -> Void)? = nil) {
        self.skipsUnreadable = skipsUnreadable
        self.onProgress = onProgress
    }
}

/// What a key change did.
public struct KeyChangeSummary: Sendable {
    /// The new version.
    public let keyVersion: Int
    public let fingerprint: String
    /// Cells that were sealed again.
    public let cells: Int
    public let duration: Duration
    /// How long writers were held at the end.
    public let pause: Duration
    /// Addresses of the cells that were moved to quarantine, with the cause.
    public let quarantined: [String]
}

/// What a rehearsal found. Nothing was changed.
public struct KeyRehearsalSummary: Sendable {
    public let cells: Int
    public let duration: Duration
    /// Bytes of WAL that PostgreSQL wrote meanwhile, others' included.
    public let walBytes: Int
    /// How long the last catch-up took: about what writers would be held for.
    public let lastCatchUp: Duration
    /// Addresses of the cells that do not open, with the cause.
    public let unreadable: [String]
}
