import PostgresClient

/// Which transactions had ended when the audit was sealed last, and on which cluster.
///
/// All entries of those transactions were sealed by then. So a new entry that names one of them was not written by it.
struct AuditSnapshot {
    private let system: String
    private let first: UInt64
    private let next: UInt64
    private let running: Set<UInt64>

    /// SQL for the text of the present snapshot.
    static let sql = """
        (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) || ' ' || pg_catalog.pg_current_snapshot()::text
        """
    /// How far a clock may be set back, or a clock of the database may be ahead.
    private static let tolerance = 60

    /// - Returns: Nil for a text of another form.
    init?(_ text: String) {
        let parts = text.split(separator: " ")
        guard parts.count == 2 else { return nil }
        let fields = parts[1].split(separator: ":", omittingEmptySubsequences: false)
        guard fields.count == 3, let first = UInt64(fields[0]), let next = UInt64(fields[1]) else { return nil }
        let running = fields[2].split(separator: ",").map { UInt64($0) }
        guard !running.contains(nil) else { return nil }
        self.system = String(parts[0])
        self.first = first
        self.next = next
        self.running = Set(running.compactMap(\.self))
    }

    private func hasEnded(_ transaction: UInt64) -> Bool {
        transaction < first || transaction < next && !running.contains(transaction)
    }

    /// Why a new entry can't be what a trigger wrote; nil if it can.
    ///
    /// - Parameters:
    ///   - former: The snapshot of the last sealing, and its time; nil for none.
    ///   - now: The time of this sealing.
    func doubt(about entry: AuditEntry, after former: (snapshot: AuditSnapshot, moment: PostgresMoment)?, at now: PostgresMoment)
        -> String?
    {
        if entry.createdOn > now.adding(seconds: Self.tolerance) { return "its time is in the future" }
        guard let transaction = UInt64(entry.transaction) else { return "its transaction is no number" }
        // After a restore on another cluster, numbers of transactions can't be compared.
        guard let former, former.snapshot.system == system, former.snapshot.next <= next else { return nil }
        if former.snapshot.hasEnded(transaction) { return "its transaction had ended when the audit was sealed before" }
        if transaction >= former.snapshot.next, entry.createdOn < former.moment.adding(seconds: -Self.tolerance) {
            return "its time is before its transaction began"
        }
        return nil
    }
}
