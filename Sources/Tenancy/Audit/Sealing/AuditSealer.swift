import CellCrypto
import JSON
import Model
import PostgresClient

/// Seals new entries of an organization's audit in blocks, each batch in one transaction with the security event that records it.
///
/// Entries are read and assigned to blocks before the attested state is locked. So the lock is held only while the blocks are
/// inserted, and other code that appends security events waits only during that time. Writers of records never wait for sealing.
struct AuditSealer {
    let organization: Organization
    let kek: KeyEncryptionKey
    let caller: Caller

    /// How many entries a batch and a block have at most.
    static let limit = 2_000
    /// How many entries the event `audit entries doubted` names at most. The event also says how many doubted entries there are.
    private static let maxListedEntries = 5

    private var audit: String { organization.qualified("audit") }
    private var table: String { organization.qualified("audit_block") }

    /// How long `fieldseal` commands wait for a lock.
    private static let lockTimeout = "10s"
    /// How long a server waits for a lock. The time is short, because the server tries again later and has other organizations to
    /// seal.
    private static let serverLockTimeout = "1s"

    /// A pass in several batches through all unsealed entries, in order of their times. When a pass ends, every entry that was
    /// committed before the pass began is sealed.
    struct Pass {
        fileprivate let beginning: AuditSnapshot
        /// The time of the newest entry in the last batch. The next batch begins at that time.
        fileprivate let last: PostgresMoment
    }

    /// The result of sealing one batch.
    struct Batch {
        var entries = 0
        /// The state of the pass, to continue it; nil if no more entries wait.
        var pass: Pass?
        /// False if there was no unsealed entry, or another block was sealed within the last `rest` seconds.
        var isDue = true
    }

    /// - Parameters:
    ///   - pass: The pass to continue; nil to begin one.
    ///   - rest: Seals only if the last block is at least this many seconds old.
    ///   - waits: Whether to wait while another server seals.
    /// - Throws: ``FieldsealError`` that says why the audit can't be sealed.
    func seal(_ pass: Pass?, restingFor rest: Int, waits: Bool, on connection: isolated PostgresConnection) throws -> Batch {
        do {
            return try connection.transaction {
                try lock(waits: waits, on: connection)
                return try sealLocked(pass, restingFor: rest, on: connection)
            }
        } catch let problem as EventChainProblem {
            throw FieldsealError(
                .organizationDisabled,
                "The audit of \(organization.name) can't be sealed, because it is not as this service left it (\(problem.description)). "
                    + "fieldseal org attach \(organization.name) shows the differences, and has the audit sealed again if you "
                    + "accept them."
            )
        } catch let error as PostgresError where error.state == .lockNotAvailable {
            throw isLocked
        }
    }

    private var isLocked: FieldsealError {
        FieldsealError(
            .concurrencyVersionMismatch,
            "The audit of \(organization.name) can't be sealed now: another session has a lock on it. That may be a server which is sealing. Run "
                + "the command again. If that does not help, see pg_locks.")
    }

    private var isOvertaken: FieldsealError {
        FieldsealError(
            .concurrencyVersionMismatch,
            "The audit of \(organization.name) was not sealed: meanwhile the audit was archived, or an administrator accepted its "
                + "differences. Run the command again."
        )
    }

    private func sealLocked(_ pass: Pass?, restingFor rest: Int, on connection: isolated PostgresConnection) throws -> Batch {
        let row = try connection.query(
            "SELECT pg_catalog.clock_timestamp(), \(AuditSnapshot.sql), EXISTS (SELECT FROM \(audit) WHERE block IS NULL)")[0]
        let now: PostgresMoment = try row.decode(0)
        guard try row.decode(2) else { return Batch(isDue: false) }
        guard let present = AuditSnapshot(try row.decode(1), at: now) else {
            throw EventChainProblem("the database does not say which transactions run")
        }
        let known = try AttestedAnchor(of: organization, under: kek, on: connection)
        let former = try FormerSealing(known, of: organization, at: present, now, on: connection)
        if let sealedOn = former.sealedOn, rest > 0, sealedOn.isWithin(seconds: rest, before: now) { return Batch(isDue: false) }
        // One entry more than a batch may have is read, to know whether more entries wait.
        let found = try unsealed(after: pass?.last, on: connection)
        let entries = Array(found.prefix(Self.limit))
        guard let last = entries.last else { return Batch() }
        let beginning = pass?.beginning ?? present
        let isEnd = found.count == entries.count
        let blocks = try blocks(of: entries, at: now, snapshot(isEnd ? beginning : nil, after: former.snapshot), after: former)
        try assign(blocks, entries.count, on: connection)
        let doubts = entries.compactMap { entry in
            AuditSnapshot.doubt(about: entry, after: former.snapshot, at: now).map { "\(entry.id.text): \($0)" }
        }
        try AttestedState.changeEvents(of: organization, under: kek, on: connection) { change in
            try record(blocks, known, doubts, &change, on: connection)
        }
        return Batch(entries: entries.count, pass: isEnd ? nil : Pass(beginning: beginning, last: last.createdOn))
    }

    /// The snapshot to store with the last new block. In the last batch of a pass, returns the snapshot from the beginning of the
    /// pass. In an earlier batch, returns the snapshot of the block before the batch. So every transaction that the stored snapshot
    /// shows as ended has all its entries sealed.
    private func snapshot(_ beginning: AuditSnapshot?, after former: AuditSnapshot?) -> AuditSnapshot? {
        guard let beginning else { return former }
        // If another server sealed after this pass began, the snapshot of its block is later than the pass's own.
        if let former, !beginning.isLater(than: former) { return former }
        return beginning.continuing(former)
    }

    /// Locks the organization's row in `config.audit_sealing`, so that only one server seals at a time. Only the service and the
    /// owner can lock that row.
    private func lock(waits: Bool, on connection: isolated PostgresConnection) throws {
        let timeout = waits ? Self.lockTimeout : Self.serverLockTimeout
        _ = try connection.query("SELECT pg_catalog.set_config('lock_timeout', $1, true)", [.text(timeout)])
        let id = [PostgresParameter.uuid(organization.id)]
        let locking =
            "SELECT FROM config.audit_sealing WHERE organization_id = $1 FOR UPDATE\(waits ? "" : " SKIP LOCKED")"
        if try !connection.query(locking, id).isEmpty { return }
        _ = try connection.query(
            "INSERT INTO config.audit_sealing (organization_id) VALUES ($1) ON CONFLICT (organization_id) DO NOTHING", id)
        guard try !connection.query(locking, id).isEmpty else { throw isLocked }
    }

    private func unsealed(after: PostgresMoment?, on connection: isolated PostgresConnection) throws -> [AuditEntry] {
        // DECLARE takes no parameters here, so the SQL contains the time. The time's text is safe, because the program makes it
        // from a number.
        let bound = after.map { " AND a.createdon >= \(Self.literal($0))" } ?? ""
        var rows = try AuditRows(
            "unsealed_audit", in: organization,
            "WHERE a.block IS NULL\(bound) ORDER BY a.createdon, a.auditid LIMIT \(Self.limit + 1)", on: connection)
        var entries: [AuditEntry] = []
        while let entry = try rows.next(on: connection) {
            entries.append(entry)
            rows.pass()
        }
        try rows.close(on: connection)
        return entries
    }

    private static func literal(_ moment: PostgresMoment) -> String {
        switch moment.microseconds {
        case .max: "'infinity'::timestamptz"
        case .min: "'-infinity'::timestamptz"
        case let number: "'2000-01-01 00:00+00'::timestamptz + \(number) * interval '1 microsecond'"
        }
    }

    /// Starts a new block for each day in UTC. Archiving goes by age and removes whole blocks, so newer entries in a block would
    /// delay the archiving of older entries in it.
    private func blocks(
        of entries: [AuditEntry], at moment: PostgresMoment, _ snapshot: AuditSnapshot?, after former: FormerSealing
    ) throws -> [AuditBlock] {
        let days = entries.chunked { $0.createdOn.day == $1.createdOn.day }
        var blocks: [AuditBlock] = []
        for (place, day) in days.enumerated() {
            let text = place == days.count - 1 ? snapshot?.text : nil
            let digest = blocks.last?.digest ?? former.digest
            blocks.append(try AuditBlock(former.last + 1 + place, day, at: moment, text, after: digest))
        }
        return blocks
    }

    private func assign(_ blocks: [AuditBlock], _ count: Int, on connection: isolated PostgresConnection) throws {
        var assigned = 0
        for block in blocks {
            assigned += try connection.query(
                "UPDATE \(audit) SET block = $1 WHERE auditid = ANY ($2) AND block IS NULL",
                [.int64(Int64(block.number)), .uuids(Array(block.digests.keys))]
            ).affectedRows
        }
        guard assigned == count else {
            throw FieldsealError(
                .unexpected,
                "\(count - assigned) entries of the audit of \(organization.name) could not be sealed: they were removed "
                    + "meanwhile, or a trigger prevents their sealing. fieldseal doctor names what differs.")
        }
    }

    private func record(
        _ blocks: [AuditBlock], _ known: AttestedAnchor, _ doubts: [String], _ change: inout AttestedChange,
        on connection: isolated PostgresConnection
    ) throws {
        guard let last = blocks.last else { return }
        var present = known
        try present.follow(to: change.state, on: connection)
        // The anchor changes when blocks were archived, or when an administrator accepted differences.
        guard present.anchor == known.anchor else { throw isOvertaken }
        _ = try connection.pipeline(blocks.map { $0.insertion(into: table) })
        let former = known.anchor
        let anchor = AuditAnchor(last: last.number, digest: last.digest, first: former?.first ?? 1, before: former?.before)
        try change.append(
            SecurityEvent(.auditSealed, .succeeded, details: RecordedSealing.details(blocks, anchor)), by: caller, on: connection)
        guard !doubts.isEmpty else { return }
        let named =
            doubts.prefix(Self.maxListedEntries).joined(separator: "; ") + (doubts.count > Self.maxListedEntries ? "; …" : "")
        try change.append(
            SecurityEvent(.auditDoubted, .refused, details: "\(doubts.count) up to block \(last.number): \(named)"), by: caller,
            on: connection)
    }
}

extension Array {
    /// Splits the array into runs. In a run, `belong` is true for each element and the one before it.
    fileprivate func chunked(_ belong: (Element, Element) -> Bool) -> [[Element]] {
        reduce(into: []) { chunks, element in
            if let last = chunks.last?.last, belong(last, element) {
                chunks[chunks.count - 1].append(element)
            } else {
                chunks.append([element])
            }
        }
    }
}
