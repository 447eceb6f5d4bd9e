import PostgresClient

/// Which transactions had ended at a moment, and on which database cluster. A snapshot exposes audit entries that SQL inserted
/// later.
///
/// Sealing seals every entry of the ended transactions. If a later unsealed entry names one of those transactions, that transaction
/// did not write the entry. An entry of a transaction that had not ended can't be older than the transaction.
struct AuditSnapshot {
    private let system: String
    private let first: UInt64
    private let next: UInt64
    /// The running transactions, in order, each with a moment before it began; nil if no such moment is known.
    private let running: [(transaction: UInt64, begin: PostgresMoment?)]
    private let moment: PostgresMoment

    /// SQL for the text of the present snapshot.
    static let sql = """
        (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) || ' ' || pg_catalog.pg_current_snapshot()::text
        """
    /// Seconds by which a clock may be set back, or the database's clock may be ahead.
    private static let tolerance = 60

    /// - Parameters:
    ///   - text: The result of ``sql``, or a ``text``. Blocks of an earlier version have the result of ``sql``.
    ///   - moment: The time at which ``sql`` ran. A ``text`` contains its own time instead.
    /// - Returns: Nil for a text of another form.
    init?(_ text: String, at moment: PostgresMoment) {
        let parts = text.split(separator: " ")
        guard parts.count == 2 || parts.count == 4 else { return nil }
        let fields = parts[1].split(separator: ":", omittingEmptySubsequences: false)
        guard fields.count == 3, let first = UInt64(fields[0]), let next = UInt64(fields[1]) else { return nil }
        let numbers = fields[2].split(separator: ",").map { UInt64($0) }
        guard !numbers.contains(nil) else { return nil }
        var begins: [PostgresMoment?] = Array(repeating: nil, count: numbers.count)
        var said = moment
        if parts.count == 4 {
            guard let microseconds = Int64(parts[2]) else { return nil }
            said = PostgresMoment(microseconds: microseconds)
            begins = parts[3].split(separator: ",").map { Int64($0).map { PostgresMoment(microseconds: $0) } }
            // Without a running transaction, the list is a single "-".
            guard begins.count == max(numbers.count, 1) else { return nil }
        }
        let running = Array(zip(numbers.compactMap(\.self), begins)).map { (transaction: $0, begin: $1) }
        self.init(system: String(parts[0]), first: first, next: next, running: running, moment: said)
    }

    private init(
        system: String, first: UInt64, next: UInt64, running: [(transaction: UInt64, begin: PostgresMoment?)],
        moment: PostgresMoment
    ) {
        self.system = system
        self.first = first
        self.next = next
        self.running = running
        self.moment = moment
    }

    /// The cluster, PostgreSQL's snapshot, its time, and for each running transaction a moment before it began. Times are
    /// microseconds since PostgreSQL's epoch.
    var text: String {
        let begins = running.isEmpty ? "-" : running.map { $0.begin.map { "\($0.microseconds)" } ?? "-" }.joined(separator: ",")
        let numbers = running.map { "\($0.transaction)" }.joined(separator: ",")
        return "\(system) \(first):\(next):\(numbers) \(moment.microseconds) \(begins)"
    }

    /// Whether this snapshot is the later one of the two. False after a restore on another cluster, where transaction numbers
    /// can't be compared.
    func isLater(than former: AuditSnapshot) -> Bool { former.system == system && former.next <= next }

    /// This snapshot, with the moments that an earlier snapshot has for transactions that still run.
    func continuing(_ former: AuditSnapshot?) -> AuditSnapshot {
        guard let former, isLater(than: former) else { return self }
        let known = running.map { (transaction: $0.transaction, begin: former.begin(of: $0.transaction)) }
        return AuditSnapshot(system: system, first: first, next: next, running: known, moment: moment)
    }

    /// For a transaction that had not ended, returns a moment before it began; nil if no such moment is known.
    private func begin(of transaction: UInt64) -> PostgresMoment? {
        transaction >= next ? moment : running.first { $0.transaction == transaction }?.begin
    }

    private func hasEnded(_ transaction: UInt64) -> Bool {
        transaction < first || transaction < next && !running.contains { $0.transaction == transaction }
    }

    /// Why a new entry can't be from the audit trigger; nil if it can.
    ///
    /// - Parameters:
    ///   - former: The snapshot of the last sealing; nil if no snapshot can be compared.
    ///   - now: The time of this sealing.
    static func doubt(about entry: AuditEntry, after former: AuditSnapshot?, at now: PostgresMoment) -> String? {
        if entry.createdOn > now.adding(seconds: tolerance) { return "its time is in the future" }
        guard let transaction = UInt64(entry.transaction) else { return "its transaction is no number" }
        guard let former else { return nil }
        if former.hasEnded(transaction) { return "its transaction had ended when the audit was sealed before" }
        if let begin = former.begin(of: transaction), entry.createdOn < begin.adding(seconds: -tolerance) {
            return "its time is before its transaction began"
        }
        return nil
    }
}
